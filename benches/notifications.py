#!/usr/bin/env python3
"""From the registry's answer to a push until a scrape has the new value, with the real registry (Debian:
docker-registry) as it notifies, beside 1,000 tags. Scans are an hour apart, so that they have no part in it. Pushes come
after pauses of random length; every second one is of a tag that is new. A figure includes up to 10 ms until the next
scrape and the scrape itself.
"""

import json
import random
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry import (
    BINARY,
    CONCURRENCY,
    OCI_MANIFEST,
    REPOSITORIES,
    TOTAL,
    Process,
    fill,
    free_port,
    metric,
    note,
    push_blob,
    request,
    scrape,
    wait_for,
)

PUSHES, TOKEN = 50, "a-token-of-the-benchmark"


def push(registry, repository, tag, nth):
    """Pushes one image of one layer; returns the layer's size."""
    described = []
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": [f"NTH={nth}"]}, "rootfs": {"type": "layers"}}
    for data in (json.dumps(config).encode(), b"x" * (1_000_000 + nth)):
        name, size = push_blob(registry, repository, data)
        described.append({"digest": name, "size": size})
    described[0]["mediaType"] = "application/vnd.oci.image.config.v1+json"
    described[1]["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
    kind = [("Content-Type", OCI_MANIFEST)]
    status, _, body = request(registry, "PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(manifest), kind)
    assert status == 201, body
    return described[1]["size"]


def published(address, repository, tag, size):
    """Seconds until a scrape has this size."""
    wanted = f',repository="{repository}",tag="{tag}",platform="linux/amd64"}} {size}\n'
    start = time.monotonic()
    while wanted not in scrape(address):
        assert time.monotonic() < start + 60, f"never published: {wanted}"
        time.sleep(0.01)
    return time.monotonic() - start


def main():
    directory = Path(tempfile.mkdtemp(prefix="image-size-exporter-bench-"))
    registry, address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (directory / "token").write_text(TOKEN)
    (directory / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/storage}}}}\n"
        f"http: {{addr: {registry}, secret: bench}}\n"
        "notifications:\n  endpoints:\n    - name: exporter\n"
        f"      url: http://{address}/-/notify/distribution\n"
        f"      headers: {{Authorization: [Bearer {TOKEN}]}}\n"
        "      timeout: 1s\n      threshold: 5\n      backoff: 1s\n"
    )
    (directory / "config.toml").write_text(
        f'[scan]\ninterval = "1h"\nconcurrency = {CONCURRENCY}\n[notifications]\ntoken_file = "token"\n'
        f'[[targets]]\nname = "all"\nrepository = "{registry}/**"\nmatch = ["."]\n'
    )
    processes = []
    try:
        processes.append(Process(["docker-registry", "serve", "registry.yml"], directory))
        wait_for("the registry", lambda: request(registry, "GET", "/v2/")[0])
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            repositories = [name for name, _ in pool.map(lambda nth: fill(registry, nth), range(REPOSITORIES))]
        flags = ["--config.file", "config.toml", "--web.listen-address", address, "--log.level", "warn"]
        processes.append(Process([str(BINARY), *flags], directory))
        stored = "container_image_registry_stored_size_bytes"
        wait_for("the first scan", lambda: metric(scrape(address), stored) or None)
        # What the registry notifies of the scan, and of what filled it, is delivered.
        published(address, repositories[0], "first", push(registry, repositories[0], "first", 0))

        dice = random.Random(1)
        seconds = []
        for nth in range(1, PUSHES + 1):
            time.sleep(dice.uniform(0, 1.5))
            repository = dice.choice(repositories)
            tag = f"new{nth}" if nth % 2 else f"v1.{nth % 10}.0"
            size = push(registry, repository, tag, nth)
            seconds.append(published(address, repository, tag, size))
        assert len(metric(scrape(address), "image_size_exporter_target_last_scan_timestamp_seconds")) == 1
        print(f"{PUSHES} pushes beside {TOTAL} tags, seconds from the registry's answer to the scrape that has it")
        note("pushed to published, median", f"{statistics.median(seconds):9.3f} s             aim: under 0.3")
        note("pushed to published, worst", f"{max(seconds):9.3f} s             aim: under 1")
    finally:
        for process in reversed(processes):
            process.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
