#!/bin/sh
# Measures a large layer as `exact` does (decompression, digest, tar) against programs that only decompress it.
# Usage: benches/layers.sh [TAR]; without one a tar of at least 500 MiB is made of this machine's own files.
# Prints, separated by tabs: name, our seconds, theirs, ours / theirs; the seconds with the files listed, without, and the
# first by the second, also of 200,000 small files; then our memory in KiB; then the bytes of each layer that `cheap` moves.
# BEFORE=path/to/an/older/measure compares with that one too. Needs gzip, pigz, igzip (Debian: isal), zstd, GNU time and docker-registry.
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

# measured FILE [COMMAND...]: measures a layer in turns, as `exact` does, with its files listed, by the older program, and
# with each of these commands, so that whatever else the machine does meets all of them.
measured() {
    file=$1
    shift
    digest=sha256:$(sha256sum "$into/$file" | cut -d' ' -f1)
    for _ in 1 2 3 4 5; do
        seconds "ours.$file" "$measure" "$into/$file" "$digest" "$diff_id"
        seconds "files.$file" "$measure" "$into/$file" "$digest" "$diff_id" files
        if [ -n "${BEFORE:-}" ]; then seconds "before.$file" "$BEFORE" "$into/$file" "$digest" "$diff_id"; fi
        for other; do seconds "$other.$file" "$other" -dc "$into/$file"; done
    done
    for other; do compared "exact, $other -dc" "ours.$file" "$other.$file"; done
    compared "$file with files, exact" "files.$file" "ours.$file"
    if [ -n "${BEFORE:-}" ]; then compared "$file exact, before" "ours.$file" "before.$file"; fi
    for what in "" files; do
        # shellcheck disable=SC2086 # Nothing, or one word.
        memory=$(/usr/bin/time -f %M "$measure" "$into/$file" "$digest" "$diff_id" $what 2>&1 >/dev/null)
        printf 'exact, memory of %s\t%s\n' "$file${what:+ with files}" "$memory"
    done
}

# compared NAME OURS THEIRS: a line.
compared() {
    ours=$(best "$2")
    theirs=$(best "$3")
    printf '%s\t%s\t%s\t%s\n' "$1" "$ours" "$theirs" "$(echo "$ours $theirs" | awk '{ printf "%.2f", $1 / $2 }')"
}

# The best of all rounds.
best() { sort -n "$into/$1" | head -1 | awk '{ printf "%.3f", $1 / 1000 }'; }

measured layer.gz gzip pigz igzip
measured layer.zst zstd
benches/cheap.py "$diff_id" "$into/layer.gz" "$into/layer.zst"

# Small files cost more by the file than by the byte: 200,000 of up to 2 KiB of text in 2000 directories.
python3 - "$into/small.tar" <<'END'
import io, random, sys, tarfile

random.seed(7)
words = [bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9))) for _ in range(5000)]
text = b" ".join(random.choices(words, k=500_000))
with tarfile.open(sys.argv[1], "w") as tar:
    for number in range(200_000):
        file = tarfile.TarInfo(f"usr/lib/modules/{number % 2000}/file-{number}.js")
        file.size = random.randint(0, 2048)
        start = random.randrange(len(text) - file.size)
        tar.addfile(file, io.BytesIO(text[start : start + file.size]))
END
diff_id=sha256:$(sha256sum "$into/small.tar" | cut -d' ' -f1)
gzip -6 -c "$into/small.tar" >"$into/small.gz"
zstd -q -3 -c "$into/small.tar" >"$into/small.zst"
measured small.gz
measured small.zst
