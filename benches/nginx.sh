#!/bin/sh
# The endpoint beside nginx serving the very same bytes: requests per second of 8 connections, identity and gzip, with
# 100,000 series; and what a million series cost. One line each: name, ours, theirs, ratio.
# Needs nginx, hey and curl. Usage: benches/nginx.sh [SECONDS]
set -eu

seconds=${1:-10}
work=$(mktemp -d)
server= proxy=
trap 'exec 3>&-; [ -z "$proxy" ] || kill "$proxy"; [ -z "$server" ] || wait "$server"; rm -rf "$work"' EXIT INT TERM

# Builds, then serves so many series; $address is where.
endpoint() {
    mkdir -p "$work/www"
    [ -p "$work/stdin" ] || mkfifo "$work/stdin"
    cargo bench --profile dist --quiet --bench endpoint -- "$1" "$work/www" <"$work/stdin" >"$work/endpoint" &
    server=$!
    exec 3>"$work/stdin"
    until grep -q '^listening' "$work/endpoint"; do
        kill -0 "$server"
        sleep 0.2
    done
    address=$(sed -n 's/^listening //p' "$work/endpoint")
}

stop_endpoint() {
    exec 3>&-
    wait "$server"
    server=
}

value() { sed -n "s/^$1 //p" "$work/endpoint"; }

per_second() { hey -z "${seconds}s" -c 8 -disable-compression -H "Accept-Encoding: $2" "$1" | awk '/Requests\/sec/ {print $2}'; }

compare() { awk -v name="$1" -v ours="$2" -v theirs="$3" 'BEGIN {printf "%s %s %s %.2f\n", name, ours, theirs, ours / theirs}'; }

endpoint 100000
# One worker a core, like ours; a port that is free now.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/nginx.conf" <<CONF
daemon off; pid $work/pid; error_log $work/error.log; worker_processes auto;
events {}
http {
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {} default_type text/plain;
    client_body_temp_path $work/t; proxy_temp_path $work/t; fastcgi_temp_path $work/t; uwsgi_temp_path $work/t; scgi_temp_path $work/t;
    server { listen 127.0.0.1:$port; root $work/www; gzip_static on; }
}
CONF
chmod 755 "$work" "$work/www"
nginx -c "$work/nginx.conf" &
proxy=$!
until curl -so /dev/null "http://127.0.0.1:$port/metrics"; do sleep 0.1; done

for encoding in identity gzip; do
    ours=$(per_second "http://$address/metrics" "$encoding")
    theirs=$(per_second "http://127.0.0.1:$port/metrics" "$encoding")
    compare "requests_per_second_$encoding" "$ours" "$theirs"
done
kill "$proxy"
wait "$proxy" || true
proxy=
stop_endpoint

endpoint 1000000
first=$(curl -so /dev/null -w '%{time_starttransfer}' "http://$address/metrics")
stop_endpoint
echo "million_series $(value series)"
echo "million_render_seconds $(value render_seconds)"
compare million_gzip_to_identity_bytes "$(value gzip_bytes)" "$(value identity_bytes)"
echo "million_first_byte_seconds $first"
compare million_render_peak_to_identity_bytes "$(value render_peak_bytes)" "$(value identity_bytes)"
compare million_two_generations_peak_to_identity_bytes "$(value two_generations_peak_bytes)" "$(value identity_bytes)"
