"""The real programs that the end-to-end tests need, each on a free port of loopback, ended with the test.

Standard library only. Nothing sleeps for a fixed time: `wait_for` asks again until something holds, or gives up.
"""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
KIB = 1024
MIB = 1024 * KIB
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def exporter_binary():
    path = os.environ.get("IMAGE_SIZE_EXPORTER")
    if not path:
        sys.exit("set IMAGE_SIZE_EXPORTER to the exporter's binary")
    return pathlib.Path(path).resolve()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, holds, seconds=60):
    """The first true answer of `holds`, asked again and again; a refused connection is a no."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            if answer := holds():
                return answer
        except (OSError, urllib.error.URLError, KeyError, IndexError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"gave up waiting after {seconds} s: {what}" + (f" ({last})" if last else ""))


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read()


def get_json(url):
    return json.loads(get(url))


class Programs(contextlib.ExitStack):
    """Starts programs in a temporary folder. When the test fails, the ends of their logs are printed."""

    def __enter__(self):
        super().__enter__()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="deploy-e2e-")))
        self.running = {}
        return self

    def __exit__(self, kind, error, trace):
        for name, process in reversed(self.running.items()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if kind is not None:
            for name in self.running:
                print(f"--- {name}\n{self.log(name)[-3000:]}", file=sys.stderr)
        return super().__exit__(kind, error, trace)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name, *command, env=None):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.running[name] = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **(env or {})}
            )

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def registry(self):
        """A distribution registry; its host with port."""
        host = f"127.0.0.1:{free_port()}"
        config = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}, "delete": {"enabled": True}},
            "http": {"addr": host},
        }
        self.start("registry", "docker-registry", "serve", self.write("registry.yml", json.dumps(config)))
        wait_for("the registry answers", lambda: get(f"http://{host}/v2/"))
        return host

    def exporter(self, config):
        """The exporter with this configuration; its host with port."""
        host = f"127.0.0.1:{free_port()}"
        path = self.write("config.toml", config)
        self.start("exporter", exporter_binary(), f"--config.file={path}", f"--web.listen-address={host}")
        wait_for("the exporter is ready", lambda: get(f"http://{host}/-/ready"))
        return host

    def prometheus(self, exporter, rules=None, alertmanager=None, history=None, others=()):
        """A Prometheus that scrapes the exporter each second; its URL. `history` is what it knows from before, as
        OpenMetrics with timestamps; `others` are targets of another job, beside itself."""
        if history:
            file = self.write("history.txt", history)
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", file, self.folder / "tsdb"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        host = f"127.0.0.1:{free_port()}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": "image-size-exporter", "static_configs": [{"targets": [exporter]}]},
                *([{"job_name": "others", "static_configs": [{"targets": [host, *others]}]}] if others else []),
            ],
        }
        if rules:
            config["rule_files"] = [str(rules)]
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        self.start(
            "prometheus",
            "prometheus",
            f"--config.file={self.write('prometheus.yml', json.dumps(config))}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address={host}",
        )
        wait_for("Prometheus is ready", lambda: get(f"http://{host}/-/ready"))
        return f"http://{host}"

    def alertmanager(self, webhook):
        """An Alertmanager that tells one webhook of everything; its host with port."""
        host = f"127.0.0.1:{free_port()}"
        config = {
            "route": {"receiver": "webhook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
        self.start(
            "alertmanager",
            shutil.which("alertmanager") or "prometheus-alertmanager",
            f"--config.file={self.write('alertmanager.yml', json.dumps(config))}",
            f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address={host}",
            "--cluster.listen-address=",
        )
        wait_for("Alertmanager is ready", lambda: get(f"http://{host}/-/ready"))
        return host

    def serve(self, handler):
        """An HTTP server of our own, in a thread; its host with port."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.callback(server.server_close)
        self.callback(server.shutdown)
        return f"127.0.0.1:{server.server_port}"


class Query:
    """Prometheus's HTTP API."""

    def __init__(self, url):
        self.url = url

    def _ask(self, path, **parameters):
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", body, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()}\n{parameters}") from None

    def now(self, expr):
        """[(labels, value)]"""
        return [(row["metric"], float(row["value"][1])) for row in self._ask("query", query=expr)["result"]]

    def over(self, expr, start, end, step):
        """[(labels, [(time, value)])]"""
        data = self._ask("query_range", query=expr, start=start, end=end, step=step)
        return [(row["metric"], [(at, float(value)) for at, value in row["values"]]) for row in data["result"]]

    def label_values(self, series, label):
        match = urllib.parse.urlencode({"match[]": series})
        return get_json(f"{self.url}/api/v1/label/{label}/values?{match}")["data"]


# --- Images ----------------------------------------------------------------------------------------------------------


def digest_of(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def layer(size, seed):
    """A gzipped tar of one file that does not compress: a bit more than `size` bytes, the same for the same seed."""
    content = hashlib.shake_256(seed.encode()).digest(size)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(f"data/{seed}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(tar.getvalue(), compresslevel=1, mtime=0)


class Repository:
    def __init__(self, host, name):
        self.host, self.name = host, name
        self.url = f"http://{host}/v2/{name}"

    def _send(self, method, url, body, kind="application/octet-stream"):
        request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers

    def blob(self, body, kind):
        digest = digest_of(body)
        where = self._send("POST", f"{self.url}/blobs/uploads/", b"")["Location"]
        where = urllib.parse.urljoin(self.url, where)
        self._send("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", body)
        return {"mediaType": kind, "digest": digest, "size": len(body)}

    def manifest(self, reference, document):
        body = json.dumps(document).encode()
        self._send("PUT", f"{self.url}/manifests/{reference}", body, document["mediaType"])
        return {"mediaType": document["mediaType"], "digest": digest_of(body), "size": len(body)}

    def image(self, reference, layers, architecture="amd64"):
        """Pushes one platform's image. `reference` None: by its digest. Returns its descriptor."""
        tars = [gzip.decompress(body) for body in layers]
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2024-05-06T07:08:09Z",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            "history": [{"created_by": f"COPY part-{number} /"} for number in range(len(layers))],
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(config).encode(), CONFIG),
            "layers": [self.blob(body, LAYER) for body in layers],
        }
        if reference is None:
            reference = digest_of(json.dumps(document).encode())
        descriptor = self.manifest(reference, document)
        return {**descriptor, "platform": {"os": "linux", "architecture": architecture}}

    def index(self, reference, entries):
        return self.manifest(reference, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
