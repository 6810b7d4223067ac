#!/bin/sh
# How many instructions a visit costs the server: a full handshake with a client certificate, one echo, the goodbye. Counted by valgrind,
# so that a busy machine changes nothing: benches/callgrind.sh [--bless]. It fails where the number is more than 3 % above
# benches/callgrind.baseline, and says so where it is as much below.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null 2>&1 || { echo "valgrind is not here (Debian: apt-get install valgrind)" >&2; exit 2; }
cargo build --release --locked --bin doorward
doorward=$(realpath "${CARGO_TARGET_DIR:-target}/release/doorward")
baseline=benches/callgrind.baseline
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"$doorward" certs init --dir "$here/certs" >/dev/null
cat >"$here/doorward.toml" <<EOF
[handshake]
certificate = "certs/server/localhost/chain.pem"
key = "certs/server/localhost/key.pem"
clients = "certs/trust.pem"
crl = "certs/ca/crl.pem"
[address]
allow = ["127.0.0.1"]
[sandbox]
enable = false
[[service]]
name = "echo"
listen = "127.0.0.1:0"
kind = "echo"
[[service.identity]]
permit = ["dns:alice.client.internal"]
EOF
# The instructions of a server that so many visitors came to.
instructions() {
    (
        cd "$here"
        valgrind --tool=callgrind --callgrind-out-file=out.$1 "$doorward" serve --config doorward.toml >report.$1 2>log.$1 &
        server=$!
        until grep -q '^ready' report.$1; do
            kill -0 $server 2>/dev/null || { cat log.$1 >&2; exit 1; }
            sleep 0.1
        done
        at=$(sed -n 's/^  bind *\([0-9.:]*\) .*/\1/p' report.$1)
        visits=$1
        while [ "$visits" -gt 0 ]; do
            "$doorward" connect --to "$at" hello >/dev/null
            visits=$((visits - 1))
        done
        kill -TERM $server
        wait $server
        sed -n 's/^\(summary\|totals\): \([0-9]*\).*/\2/p' out.$1 | tail -1
    )
}
few=$(instructions 20)
many=$(instructions 120)
now=$(((many - few) / 100))
was=$(cat $baseline 2>/dev/null || echo "$now")
echo "$now instructions a visit; the baseline is $was"
if [ "${1:-}" = --bless ]; then
    echo "$now" >$baseline
elif [ $((now * 100)) -gt $((was * 103)) ]; then
    echo "more than 3 % above the baseline" >&2
    exit 1
elif [ $((now * 100)) -lt $((was * 97)) ]; then
    echo "more than 3 % below the baseline: --bless makes it the new one"
fi
