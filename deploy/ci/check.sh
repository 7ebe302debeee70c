#!/bin/sh
# Fails if an image is too big: for any pipeline that runs a shell.
#
#   IMAGE_SIZE_NEW=docker-archive:app.tar IMAGE_SIZE_MAX_SIZE=500MiB deploy/ci/check.sh
#
# Other flags of `image-size-exporter check` may follow. The exit code is the program's: 0 fine, 7 too big.
set -eu

: "${IMAGE_SIZE_NEW:?names the image to judge, such as registry.example.com/acme/app:v2 or docker-archive:app.tar}"

set -- "$IMAGE_SIZE_NEW" "$@"
[ -z "${IMAGE_SIZE_AGAINST:-}" ] || set -- "$@" --against "$IMAGE_SIZE_AGAINST"
[ -z "${IMAGE_SIZE_MAX_SIZE:-}" ] || set -- "$@" --max-size "$IMAGE_SIZE_MAX_SIZE"
[ -z "${IMAGE_SIZE_MAX_GROWTH:-}" ] || set -- "$@" --max-growth "$IMAGE_SIZE_MAX_GROWTH"
[ -z "${IMAGE_SIZE_MAX_GROWTH_FLOOR:-}" ] || set -- "$@" --max-growth-floor "$IMAGE_SIZE_MAX_GROWTH_FLOOR"
[ -z "${IMAGE_SIZE_AS:-}" ] || set -- "$@" --as "$IMAGE_SIZE_AS"
[ -z "${IMAGE_SIZE_CONFIG:-}" ] || set -- "$@" --config.file "$IMAGE_SIZE_CONFIG"

exec "${IMAGE_SIZE_PROGRAM:-image-size-exporter}" check "$@"
