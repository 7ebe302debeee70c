#!/bin/sh
# Measures a large layer as `exact` does (decompression, digest, tar) against programs that only decompress it.
# Usage: benches/layers.sh [TAR]; without one a tar of at least 500 MiB is made of this machine's own files.
# Prints, separated by tabs: name, our seconds, theirs, ours / theirs; then our memory in KiB.
set -eu
cd "$(dirname "$0")/.."
measure=${MEASURE:-target/release/examples/measure}
[ -x "$measure" ] || cargo build --release --quiet --example measure
into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT
tar=${1:-$into/layer.tar}
if [ $# -eq 0 ]; then
    # Small files first, as in most layers, until there is enough.
    (cd / && find usr -xdev -type f -size -4M) | awk 'NR % 2' >"$into/list"
    tar -C / -cf "$tar" --no-recursion -T "$into/list" 2>/dev/null || true
fi
[ "$(stat -c %s "$tar")" -ge 524288000 ] || { echo "$tar has less than 500 MiB" >&2; exit 1; }
diff_id=sha256:$(sha256sum "$tar" | cut -d' ' -f1)
gzip -6 -c "$tar" >"$into/layer.gz"
zstd -q -3 -c "$tar" >"$into/layer.zst"

# The best of three, in seconds.
best() {
    for _ in 1 2 3; do
        start=$(date +%s%N)
        "$@" >/dev/null
        end=$(date +%s%N)
        echo $(((end - start) / 1000000))
    done | sort -n | head -1 | awk '{ printf "%.3f", $1 / 1000 }'
}

for file in layer.gz layer.zst; do
    ours=$(best "$measure" "$into/$file" "$diff_id")
    case $file in
    *.gz) others="gzip pigz igzip" ;;
    *) others=zstd ;;
    esac
    for other in $others; do
        theirs=$(best "$other" -dc "$into/$file")
        printf 'exact, %s -dc\t%s\t%s\t%s\n' "$other" "$ours" "$theirs" "$(echo "$ours $theirs" | awk '{ printf "%.2f", $1 / $2 }')"
    done
    memory=$(/usr/bin/time -f %M "$measure" "$into/$file" "$diff_id" 2>&1 >/dev/null)
    printf 'exact, memory of %s\t%s\n' "$file" "$memory"
done
