#!/usr/bin/env python3
"""Scans of 1,000 tags in 100 repositories of the real registry (Debian: docker-registry), against as many bare requests
by an HTTP load generator (Debian: hey) with the same concurrency.

The exporter's first scan is timed from the start of its process until /metrics has every tag. A scan of unchanged tags
is timed by the exporter itself (last_scan_duration, listing included). hey asks for one and the same document again
and again, which is the best case for the registry. Each figure is the median of several runs, after the registry
has been asked for everything once.
The crate's registry in memory takes no part: the cost of the real one is in both figures, and its counters tell
independently what was asked.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

REPOSITORIES, TAGS, CONCURRENCY, RUNS = 100, 10, 8, 5
TOTAL = REPOSITORIES * TAGS
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BINARY = Path(__file__).resolve().parent.parent / "target/dist/image-size-exporter"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(address, method, path, body=None, headers=()):
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def wait_for(what, ask):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if (answer := ask()) is not None:
                return answer
        except OSError:
            pass
        time.sleep(0.005)
    sys.exit(f"waited in vain for {what}")


class Process:
    def __init__(self, arguments, directory):
        self.log = open(directory / f"{Path(arguments[0]).name}.log", "ab")
        self.child = subprocess.Popen(arguments, stdout=self.log, stderr=self.log, cwd=directory)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(30)
        self.log.close()

    def peak_bytes(self):
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def digest(data):
    return "sha256:" + sha256(data).hexdigest()


def push_blob(address, repository, data):
    _, headers, _ = request(address, "POST", f"/v2/{repository}/blobs/uploads/")
    location = headers["Location"].split(address, 1)[-1]
    octets = [("Content-Type", "application/octet-stream")]
    status, _, body = request(address, "PUT", f"{location}&digest={digest(data)}", data, octets)
    assert status == 201, body
    return digest(data), len(data)


def fill(address, nth):
    """One repository: ten releases of three layers each, of which two are the same in all."""
    repository = f"team{nth % 10}/app{nth}"
    shared = [push_blob(address, repository, f"base {nth % 7} {part}".encode() * 50) for part in "ab"]
    for tag in range(TAGS):
        layers = [*shared, push_blob(address, repository, f"{nth} {tag}".encode() * 50)]
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": "2024-05-06T07:08:09Z",
                "config": {"Env": [f"RELEASE={nth}.{tag}"]},
                "rootfs": {"type": "layers", "diff_ids": [name for name, _ in layers]},
                "history": [{"created_by": f"RUN step {step} of many " + "x" * 100} for step in range(10)],
            }
        ).encode()
        name, size = push_blob(address, repository, config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": name, "size": size},
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": name, "size": size}
                for name, size in layers
            ],
        }
        kind = [("Content-Type", OCI_MANIFEST)]
        status, _, body = request(
            address, "PUT", f"/v2/{repository}/manifests/v1.{tag}.0", json.dumps(manifest), kind
        )
        assert status == 201, body
    return repository, name


def hey(method, url, number):
    """Seconds that hey takes for at least so many requests."""
    number = -(-number // CONCURRENCY) * CONCURRENCY
    output = subprocess.run(
        ["hey", "-n", str(number), "-c", str(CONCURRENCY), "-m", method, "-H", f"Accept: {OCI_MANIFEST}", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"[200]\t{number} responses" in output, output
    return float(re.search(r"Total:\s+([\d.]+) secs", output)[1])


def metric(body, name):
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", body, re.M)
    return [float(value) for value in found]


def counts(debug):
    body = request(debug, "GET", "/metrics")[2].decode()
    found = re.findall(r'^registry_http_requests_total{code="\d+",handler="(\w+)",method="(\w+)"} (\S+)$', body, re.M)
    total = {}
    for handler, method, value in found:
        total[handler, method] = total.get((handler, method), 0) + int(float(value))
    return total


def asked(before, after):
    changed = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    return ", ".join(f"{number} {method.upper()} {handler}" for (handler, method), number in sorted(changed.items()))


def row(name, ours, theirs, unit, aim):
    print(f"{name:<46} {ours:>9.3f} {unit:<4} {theirs:>9.3f} {unit:<4} {ours / theirs:>6.2f} ×   aim: {aim}", flush=True)


def note(name, value):
    print(f"{name:<46} {value}", flush=True)


def exporter(directory, registry, interval):
    address = f"127.0.0.1:{free_port()}"
    (directory / "config.toml").write_text(
        f'[scan]\ninterval = "{interval}"\nconcurrency = {CONCURRENCY}\n'
        f'[[targets]]\nname = "all"\nrepository = "{registry}/**"\nmatch = ["."]\n'
    )
    started = time.monotonic()
    process = Process(
        [str(BINARY), "--config.file", "config.toml", "--web.listen-address", address, "--log.level", "warn"], directory
    )
    return process, address, started


def scrape(address):
    return request(address, "GET", "/metrics")[2].decode()


def first_scan(directory, registry):
    process, address, started = exporter(directory, registry, "1h")
    try:
        # The sums come with the last tag.
        wait_for(
            "the first scan",
            lambda: metric(scrape(address), "container_image_registry_stored_size_bytes") or None,
        )
        seconds = time.monotonic() - started
        body = scrape(address)
        assert len(metric(body, "container_image_compressed_size_bytes")) == TOTAL
        return seconds, metric(body, "image_size_exporter_target_last_scan_duration_seconds")[0], process.peak_bytes()
    finally:
        process.stop()


def unchanged_scans(directory, registry, debug):
    """Durations, CPU seconds a scan, peak bytes, and what the registry was asked in one scan."""
    process, address, _ = exporter(directory, registry, "2s")

    def end():
        return (metric(scrape(address), "image_size_exporter_target_last_scan_timestamp_seconds") or [0])[0]

    def next_end(last):
        # Looked at rarely: the looking is not to be measured.
        while (now := end()) <= last:
            time.sleep(0.1)
        return now

    try:
        wait_for("the first scan", lambda: end() or None)
        last = next_end(end())
        durations, cpu, requests = [], process.cpu_seconds(), []
        for _ in range(RUNS):
            before = counts(debug)
            last = next_end(last)
            requests.append(asked(before, counts(debug)))
            durations.append(metric(scrape(address), "image_size_exporter_target_last_scan_duration_seconds")[0])
        return durations, (process.cpu_seconds() - cpu) / RUNS, process.peak_bytes(), requests
    finally:
        process.stop()


def main():
    directory = Path(tempfile.mkdtemp(prefix="image-size-exporter-bench-"))
    registry, debug = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (directory / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/storage}}}}\n"
        f"http: {{addr: {registry}, secret: bench, debug: {{addr: {debug}, prometheus: {{enabled: true, path: /metrics}}}}}}\n"
    )
    server = Process(["docker-registry", "serve", "registry.yml"], directory)
    try:
        wait_for("the registry", lambda: request(registry, "GET", "/v2/")[0])
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            filled = list(pool.map(lambda nth: fill(registry, nth), range(REPOSITORIES)))
        repository, config = filled[0]
        manifest = f"http://{registry}/v2/{repository}/manifests/v1.0.0"
        blob, tags = f"http://{registry}/v2/{repository}/blobs/{config}", f"http://{registry}/v2/{repository}/tags/list"

        print(f"{TOTAL} tags in {REPOSITORIES} repositories, concurrency {CONCURRENCY}, medians of {RUNS} runs")
        print(f"{'':<46} {'ours':>14} {'hey':>14} {'ratio':>8}")
        first_scan(directory, registry)
        before = counts(debug)
        firsts = [first_scan(directory, registry)]
        requests = asked(before, counts(debug))
        gets, bare = [], []
        # In turns, so that whatever else this machine does hits both.
        for _ in range(RUNS):
            firsts.append(first_scan(directory, registry))
            gets.append(hey("GET", manifest, TOTAL) + hey("GET", blob, TOTAL) + hey("GET", tags, REPOSITORIES))
        row(
            "first scan, from start to /metrics complete",
            statistics.median(seconds for seconds, _, _ in firsts),
            statistics.median(gets),
            "s",
            "at most 1.5",
        )
        note("  of which the scan says it took", f"{statistics.median(scan for _, scan, _ in firsts):9.3f} s")
        note("  asked of the registry", requests)
        note("  peak resident memory", f"{max(peak for _, _, peak in firsts) / 2**20:9.1f} MiB           aim: under 40")

        durations, cpu, peak, requests = unchanged_scans(directory, registry, debug)
        for _ in range(RUNS):
            bare.append(hey("HEAD", manifest, TOTAL))
        row("scan of unchanged tags", statistics.median(durations), statistics.median(bare), "s", "at most 1.25")
        note("  asked of the registry", requests[-1] if len(set(requests)) == 1 else requests)
        note("  CPU seconds per 1,000 unchanged tags", f"{cpu:9.3f} s")
        note("  peak resident memory", f"{peak / 2**20:9.1f} MiB           aim: under 30")
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
