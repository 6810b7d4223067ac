#!/bin/sh
# Doorward beside its peers on one machine: benches/compare/run.sh [--rounds N] [--seconds N] [--idle N]
# [--only NAME,…] [--markdown FILE] [--json FILE]. Everything stays on loopback. With the defaults it takes ten
# minutes, and wants a machine on which nothing else runs, with two cores at least.
set -eu
cd "$(dirname "$0")/../.."
want() {
    command -v "$1" >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" >/dev/null && return
    fi
    echo "$1 is not here: the comparison goes without it" >&2
}
PATH="$PATH:/usr/sbin:/sbin"
export PATH
want haproxy haproxy
want nginx nginx
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || want nginx-stream libnginx-mod-stream
want stunnel stunnel4
cargo build --release --locked --bin doorward
exec python3 benches/compare/compare.py "${CARGO_TARGET_DIR:-target}/release/doorward" "$@"
