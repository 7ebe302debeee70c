#!/bin/sh
# Measures a large layer as `exact` does (decompression, digest, tar) against programs that only decompress it.
# Usage: benches/layers.sh [TAR]; without one a tar of at least 500 MiB is made of this machine's own files.
# Prints, separated by tabs: name, our seconds, theirs, ours / theirs; then our memory in KiB; then the bytes of each
# layer that `cheap` moves. Needs gzip, pigz, igzip (Debian: isal), zstd, GNU time and docker-registry.
set -eu
cd "$(dirname "$0")/.."
cargo build --profile dist --locked --quiet --bin image-size-exporter --example measure
measure=target/dist/examples/measure
into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT
tar=${1:-$into/layer.tar}
if [ $# -eq 0 ]; then
    # No large files, as in most layers, until there is enough.
    (cd / && find usr -xdev -type f -size -4M -printf '%s %p\n') |
        awk '{ sum += $1 + 512; sub(/^[0-9]+ /, ""); if (sum < 600 * 2 ^ 20) print }' >"$into/list"
    tar -C / -cf "$tar" --no-recursion -T "$into/list"
fi
[ "$(stat -c %s "$tar")" -ge 524288000 ] || { echo "$tar has less than 500 MiB" >&2; exit 1; }
diff_id=sha256:$(sha256sum "$tar" | cut -d' ' -f1)
gzip -6 -c "$tar" >"$into/layer.gz"
zstd -q -3 -c "$tar" >"$into/layer.zst"

# seconds NAME COMMAND...: notes how long it takes.
seconds() {
    name=$1
    shift
    start=$(date +%s%N)
    "$@" >/dev/null
    end=$(date +%s%N)
    echo "$(((end - start) / 1000000))" >>"$into/$name"
}

# The best of all rounds.
best() { sort -n "$into/$1" | head -1 | awk '{ printf "%.3f", $1 / 1000 }'; }

for file in layer.gz layer.zst; do
    case $file in
    *.gz) others="gzip pigz igzip" ;;
    *) others=zstd ;;
    esac
    digest=sha256:$(sha256sum "$into/$file" | cut -d' ' -f1)
    # In turns, so that whatever else the machine does meets all of them.
    for _ in 1 2 3 4 5; do
        seconds "ours.$file" "$measure" "$into/$file" "$digest" "$diff_id"
        for other in $others; do seconds "$other" "$other" -dc "$into/$file"; done
    done
    ours=$(best "ours.$file")
    for other in $others; do
        theirs=$(best "$other")
        printf 'exact, %s -dc\t%s\t%s\t%s\n' "$other" "$ours" "$theirs" "$(echo "$ours $theirs" | awk '{ printf "%.2f", $1 / $2 }')"
    done
    memory=$(/usr/bin/time -f %M "$measure" "$into/$file" "$digest" "$diff_id" 2>&1 >/dev/null)
    printf 'exact, memory of %s\t%s\n' "$file" "$memory"
done
benches/cheap.py "$diff_id" "$into/layer.gz" "$into/layer.zst"
