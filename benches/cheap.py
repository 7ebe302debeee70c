#!/usr/bin/env python3
"""Bytes of layers that the real registry (Debian: docker-registry) sends, by its own access log, so that `cheap` knows
how large they are uncompressed. Usage: benches/cheap.py DIFF_ID LAYER..., the layers being one tar by gzip (`.gz`)
or zstd (`.zst`).
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from registry import BINARY, OCI_MANIFEST, Process, free_port, push_blob, request, wait_for

REPOSITORY = "bench/layers"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FORMATS = {".gz": ("gzip", f"{LAYER}+gzip"), ".zst": ("zstd", f"{LAYER}+zstd")}


def push(address, diff_id, file):
    """One image of one layer."""
    tag, media_type = FORMATS[file.suffix]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    described = []
    for kind, data in [(CONFIG, json.dumps(config).encode()), (media_type, file.read_bytes())]:
        name, size = push_blob(address, REPOSITORY, data)
        described.append({"mediaType": kind, "digest": name, "size": size})
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
    path = f"/v2/{REPOSITORY}/manifests/{tag}"
    status, _, body = request(address, "PUT", path, json.dumps(manifest), [("Content-Type", OCI_MANIFEST)])
    assert status == 201, body
    return f"{address}/{REPOSITORY}:{tag}"


def sent(log, name, since):
    """How often the blob was asked for since the log had so many lines, and the bytes of it that were sent."""
    lines = [json.loads(line) for line in log.read_text().splitlines()[since:] if line.startswith("{")]
    answers = [
        line["http.response.written"]
        for line in lines
        if line["msg"] == "response completed"
        and line["http.request.method"] == "GET"
        and line["http.request.uri"].endswith(f"/blobs/{name}")
    ]
    return len(answers), sum(answers)


def main():
    diff_id, *files = sys.argv[1:]
    directory = Path(tempfile.mkdtemp())
    address = f"127.0.0.1:{free_port()}"
    (directory / "config.yml").write_text(
        "version: 0.1\nlog: {level: info, formatter: json, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/storage}}}}\nhttp: {{addr: '{address}', secret: bench}}\n"
    )
    server = Process(["docker-registry", "serve", "config.yml"], directory)
    log = directory / "docker-registry.log"
    try:
        wait_for("the registry", lambda: request(address, "GET", "/v2/"))
        references = [push(address, diff_id, Path(file)) for file in files]
        for reference in references:
            since = len(log.read_text().splitlines())
            command = [str(BINARY), "inspect", "--uncompressed", "cheap", "--json", reference]
            report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            layer = report["images"][0]["steps"][0]["layer"]
            requests, moved = sent(log, layer["digest"], since)
            known = "known" if layer["uncompressed_bytes"] is not None else "not known"
            tag = reference.rsplit(":", 1)[-1]
            print(f"cheap, {tag}\t{moved} bytes\t{requests} requests\t{known} then", flush=True)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
