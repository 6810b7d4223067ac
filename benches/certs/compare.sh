#!/usr/bin/env bash
# The same job with doorward, mkcert and openssl: an authority, a server for localhost, 127.0.0.1 and ::1, and the
# clients alice and bob. Prints the commands each needs and the median time of them, all measured in turns.
#
#   benches/certs/compare.sh [ROUNDS]      run from the top of the checkout; needs a release build
#
# Everything is made in a temporary directory. No trust store is touched.
set -euo pipefail

rounds=${1:-9}
doorward=${DOORWARD:-$PWD/target/release/doorward}
[ -x "$doorward" ] || { echo "there is no $doorward: run cargo build --release, or set DOORWARD"; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

with_doorward() { # 1 command
  "$doorward" certs init --client alice --client bob >/dev/null
}

with_mkcert() { # 3 commands
  export CAROOT=$PWD
  mkcert -ecdsa localhost 127.0.0.1 ::1 2>/dev/null
  mkcert -ecdsa -client alice.client.internal 2>/dev/null
  mkcert -ecdsa -client bob.client.internal 2>/dev/null
}

with_openssl() { # 7 commands, without constraints, serial numbers kept or a revocation list
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 825 \
    -subj "/CN=dev" -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
  local name role san
  while read -r name role san; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -days 90 -out "$name.crt" -extfile <(
      printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$role" "$san"
    ) 2>/dev/null
  done <<'NAMES'
localhost serverAuth DNS:localhost,IP:127.0.0.1,IP:::1
alice clientAuth DNS:alice.client.internal
bob clientAuth DNS:bob.client.internal
NAMES
}

tools=()
for tool in doorward mkcert openssl; do
  if [ "$tool" = doorward ] || command -v "$tool" >/dev/null; then
    tools+=("$tool")
  else
    echo "left out: $tool is not installed"
  fi
done

for round in $(seq "$rounds"); do
  for tool in "${tools[@]}"; do
    mkdir "$work/$tool.$round"
    began=$(date +%s%N)
    (cd "$work/$tool.$round" && "with_$tool")
    echo $((($(date +%s%N) - began) / 1000)) >>"$work/$tool.times"
  done
done

declare -A commands=([doorward]=1 [mkcert]=3 [openssl]=7)
printf '%-10s %9s %12s %12s\n' tool commands 'median ms' 'least ms'
for tool in "${tools[@]}"; do
  sort -n "$work/$tool.times" | awk -v tool="$tool" -v commands="${commands[$tool]}" \
    '{ all[NR] = $1 } END { printf "%-10s %9d %12.1f %12.1f\n", tool, commands, all[int((NR + 1) / 2)] / 1000, all[1] / 1000 }'
done
