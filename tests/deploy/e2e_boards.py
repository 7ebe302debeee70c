#!/usr/bin/env python3
"""Every query of every board and variable, run by a Prometheus that scraped the exporter, which watched a registry:
all must return data, of the labels that legends and columns name, and plausible in the unit that the panel says.

    e2e_boards.py [--save FILE]     FILE: what the queries returned, for grafana/picture.py

The registry is behind a front that says it meters pulls, as Docker Hub does, so that those panels have data too.
"""

import http.server
import json
import math
import re
import sys
import threading
import time
import urllib.error
import urllib.request

import check_boards
from programs import KIB, MIB, Programs, Query, Repository, free_port, layer, wait_for


def metering_front(registry, broken):
    """Passes everything on to the registry, and adds Docker Hub's headers about pulls. Once `broken` is set, one tag
    that could be read before cannot be any more."""

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self):
            if broken.is_set() and self.path.endswith("/manifests/v2.0.0"):
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            wanted = {name: self.headers[name] for name in ("Accept", "Range") if name in self.headers}
            request = urllib.request.Request(f"http://{registry}{self.path}", headers=wanted, method=self.command)
            try:
                answer = urllib.request.urlopen(request, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("connection", "date", "server", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = answer.headers.get("Content-Length") if self.command == "HEAD" else len(body)
                self.send_header("Content-Length", str(length or 0))
                if "/manifests/" in self.path:
                    self.send_header("ratelimit-limit", "200;w=21600")
                    self.send_header("ratelimit-remaining", "176;w=21600")
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_HEAD = forward

        def log_message(self, *_):
            pass

    return Front


def cluster(pods):
    """A Kubernetes API server with these pods, to which nothing happens."""

    class Cluster(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if "watch=true" not in self.path:
                pod_list = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": pods}
                self.wfile.write(json.dumps(pod_list).encode())
                return
            bookmark = {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
            try:
                while True:
                    self.wfile.write(json.dumps({"type": "BOOKMARK", "object": bookmark}).encode() + b"\n")
                    time.sleep(1)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    return Cluster


def pod(namespace, name, kind, node, image, digest):
    """A pod that a workload, named as its own name before the last dash, has started."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": name.rsplit("-", 1)[0], "uid": name, "controller": True}
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": name, "ownerReferences": [owner]},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": image}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "main", "image": image, "imageID": f"{image.rsplit(':', 1)[0]}@{digest}", "state": {"running": {}}}
            ],
        },
    }


def running(front, latest):
    """What runs of what is pushed: a release over its budget on two nodes, what `latest` is now, and a smaller one."""
    elsewhere = "sha256:" + "0" * 64
    return [
        *(pod("payments", f"app-{number}", "Deployment", f"node-{number % 2}", f"{front}/acme/app:v1.2.0", elsewhere) for number in range(3)),
        pod("payments", "nightly-0", "StatefulSet", "node-0", f"{front}/acme/app:latest", latest),
        pod("shop", "web-0", "DaemonSet", "node-1", f"{front}/acme/web:v2.1.0", elsewhere),
    ]


def push(registry):
    """Two repositories that share a base, with releases, two platforms, an attestation, and an artifact."""
    base = layer(3 * MIB, "base")
    app, web = Repository(registry, "acme/app"), Repository(registry, "acme/web")
    for number, size in enumerate([900, 950, 1400]):
        entries = [
            app.image(None, [base, layer(size * KIB, f"app-{number}-{arch}"), layer(40 * KIB, "etc")], arch)
            for arch in ("amd64", "arm64")
        ]
        attested = app.image(None, [layer(KIB, f"provenance-{number}")], "unknown")
        attested["platform"] = {"os": "unknown", "architecture": "unknown"}
        attested["annotations"] = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": entries[0]["digest"],
        }
        app.index(f"v1.{number}.0", [*entries, attested])
    latest = app.image("latest", [base, layer(900 * KIB, "app-latest")])
    for number in range(4):
        web.image(f"v2.{number}.0", [base, layer((300 + 90 * number) * KIB, f"web-{number}")])
    chart = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": web.blob(b'{"name":"web","version":"1.0.0"}', "application/vnd.cncf.helm.config.v1+json"),
        "layers": [web.blob(layer(5 * KIB, "chart"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
    }
    web.manifest("chart", chart)
    return app, base, latest["digest"]


def configuration(registry, kubeconfig):
    return f"""
        [scan]
        interval = "1s"

        [state]
        path = "state.redb"

        [registries."{registry}"]
        ratelimit_reserve = 20

        [[targets]]
        name = "backend"
        repository = "{registry}/acme/app"
        tags = ["latest"]
        match = ['^v']
        newest = "semver"
        uncompressed = "exact"
        budget = "4MiB"
        labels = {{ team = "payments" }}
        group = "payments"

        [[targets]]
        name = "frontend"
        repository = "{registry}/acme/web"
        tags = ["chart", "no-such-tag"]
        match = ['^v']
        newest = "semver"
        budget = "8MiB"
        group_by = '/(.*)$'

        [[sources]]
        name = "cluster"
        kubernetes = {{ kubeconfig = "{kubeconfig}" }}

        [[policies]]
        name = "newest"
        keep_newest = 1
        """


# --- Running a board's queries as Grafana does -----------------------------------------------------------------------


def substitute(text, values):
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], found[0]), text)


def variables(prometheus, board, choose):
    """Each variable's values, asked in order, with what `choose` picks of them put into the queries after it."""
    values = {}
    for variable in board["templating"]["list"]:
        name = variable["name"]
        if variable["type"] in ("custom", "textbox"):
            values[name] = variable["current"]["value"]
        elif variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            offered = prometheus.label_values(substitute(series, values), label)
            assert offered, f"variable {name}: {substitute(series, values)} has no values"
            values[name] = choose(variable, offered)
    return values


def as_regex(offered):
    """Several values as Grafana's Prometheus data source writes them into a string: alternatives, taken literally."""
    escaped = [re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", r"\\\\")) for value in offered]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def all_of_it(variable, offered):
    """What "All" is: `allValue` as it stands, or else all that is offered."""
    return variable.get("allValue") or as_regex(offered) if variable["includeAll"] else offered[0]


def one_of_it(variable, offered):
    """A choice that exists on all boards: the repository with releases, its `latest` where a tag is to be chosen."""
    preferred = {"repository": "acme/app", "tag": "v1.2.0", "platform": "linux/amd64", "target": "backend", "namespace": "payments"}
    if variable["name"] == "registry":
        # Docker Hub's counters are there from the start, and nothing was asked of it.
        offered = [registry for registry in offered if registry.startswith("127.0.0.1:")]
    value = preferred.get(variable["name"], offered[-1])
    assert value in offered, f"{variable['name']}: {value} is not among {offered}"
    return as_regex([value]) if variable["multi"] else value


def plausible(unit, value, expr):
    now = time.time()
    if value != value:
        return "0 / 0" in expr or "histogram_quantile" in expr or " / " in expr
    return {
        "bytes": lambda: (-1e12 if " - " in expr else 0) <= value < 1e12,
        "s": lambda: 0 <= value < 1e6,
        "short": lambda: 0 <= value < 1e7,
        "none": lambda: -1 <= value < 1e6,
        "percentunit": lambda: 0 <= value <= 64,
        "reqps": lambda: 0 <= value < 1e5,
        "bool_yes_no": lambda: value in (0, 1),
        "dateTimeFromNow": lambda: 1e12 < value <= (now + 60) * 1000,
    }[unit]()


def labels_wanted(panel, target):
    wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    if panel["type"] == "barchart":
        wanted.add(panel["options"]["xField"])
    return wanted


def columns_wanted(panel):
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    return {name for name in organize["renameByName"] if not name.startswith("Value")}


def run_panel(prometheus, panel, values, window, minimum, exporter):
    """Yields problems; returns what came back."""
    results, seen = [], set()
    for target, (_, unit) in zip(panel["targets"], check_boards.units_of(panel)):
        expr = substitute(target["expr"], values)
        if target["instant"]:
            rows = [(labels, [(window["end"], value)]) for labels, value in prometheus.now(expr)]
        else:
            rows = prometheus.over(expr, **window)
        results.append({"legend": target["legendFormat"], "unit": unit, "rows": rows})
        if len(rows) < minimum:
            yield f"{panel['title']}: no data: {expr}", results
        for labels, points in rows:
            seen |= set(labels)
            if missing := {label for label in labels_wanted(panel, target) if label not in labels and label != "platform"}:
                yield f"{panel['title']}: no label {missing}: {expr}", results
            if labels.get("instance", exporter) != exporter:
                yield f"{panel['title']}: {labels['instance']} is no exporter: {expr}", results
            for _, value in points if unit else []:
                if not plausible(unit, value, expr):
                    yield f"{panel['title']}: {value} as {unit}: {expr}", results
                    break
    if panel["title"] == "Exporters down" and results[0]["rows"] != [({}, [(window["end"], 0)])]:
        yield f"{panel['title']}: {results[0]['rows']}, but only others are down", results
    if panel["type"] == "table" and results[0]["rows"] and (missing := columns_wanted(panel) - seen):
        yield f"{panel['title']}: no columns {missing}", results
    yield None, results


# What may be empty with one image chosen: the chosen image is a good one, and has no history of pushes.
MAY_BE_EMPTY = {
    "Tags that grew",
    "Tags that cannot be read",
    "Incomplete targets",
    "Pushes",
    "Tags, last pushed first",
}


def run_board(prometheus, name, board, choose, window, since_push, keep, exporter):
    values = variables(prometheus, board, choose)
    values |= {"__range": since_push, "__interval": "5s", "__interval_ms": "5000", "__rate_interval": "15s"}
    for panel in check_boards.panels_of(board):
        minimum = 0 if choose is one_of_it and panel["title"] in MAY_BE_EMPTY else 1
        for problem, results in run_panel(prometheus, panel, values, window, minimum, exporter):
            if problem:
                yield f"{name}, {choose.__name__}: {problem}"
            keep[f"{name}#{panel['id']}"] = results
    if choose is all_of_it:
        for annotation in board["annotations"]["list"]:
            if not prometheus.now(substitute(annotation["expr"], values)):
                yield f"{name}: annotation {annotation['name']}: no data"


def wait_for_scans(prometheus, seconds):
    """Until Prometheus has a series of samples over so many seconds."""
    begin = time.time()
    wait_for(
        f"{seconds} s of scrapes",
        lambda: prometheus.now("max(timestamp(container_image_compressed_size_bytes))")[0][1] - begin > seconds,
        seconds + 60,
    )


def main():
    boards = {path.name: json.loads(path.read_text()) for path in sorted(check_boards.GRAFANA.glob("*.json"))}
    with Programs() as programs:
        registry = programs.registry()
        app, base, latest = push(registry)
        broken = threading.Event()
        front = programs.serve(metering_front(registry, broken))
        api_server = programs.serve(cluster(running(front, latest)))
        kubeconfig = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://{api_server}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        }
        exporter = programs.exporter(configuration(front, programs.write("kubeconfig", json.dumps(kubeconfig))))
        # Prometheus has other jobs, too, and some of their targets are dead.
        dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        prometheus = Query(programs.prometheus(exporter, others=dead))
        wait_for("others are down", lambda: prometheus.now("sum(up == bool 0)")[0][1] == len(dead))
        wait_for("sizes are published", lambda: prometheus.now("container_image_registry_stored_size_bytes"))
        wait_for("both targets are scanned", lambda: len(prometheus.now("container_image_compressed_size_bytes")) >= 12)
        wait_for("layers are measured", lambda: prometheus.now("container_image_unpacked_size_bytes"))
        wait_for_scans(prometheus, 25)

        broken.set()
        pushed = time.time()
        app.image("latest", [base, layer(1900 * KIB, "app-latest-again"), layer(20 * KIB, "more")])
        app.image("v1.3.0", [base, layer(1700 * KIB, "app-3"), layer(40 * KIB, "etc")])
        wait_for(
            "the release is seen",
            lambda: prometheus.now('container_image_newest_info{tag="v1.3.0"}'),
        )
        wait_for("the push is seen", lambda: prometheus.now("container_image_tag_changed_timestamp_seconds"))
        wait_for("`latest` has moved on", lambda: prometheus.now("container_image_running_outdated_containers > 0"))
        wait_for("the broken tag is seen", lambda: prometheus.now('container_image_tag_up{tag="v2.0.0"} == 0'))
        wait_for_scans(prometheus, 15)

        end = time.time()
        window = {"start": end - 60, "end": end, "step": 5}
        # What grew in the chosen range is what was pushed now, however long the machine took for it.
        since_push = f"{math.ceil(end - pushed) + 5}s"
        everything, single = {}, {}
        problems = []
        for name, board in boards.items():
            problems += run_board(prometheus, name, board, all_of_it, window, since_push, everything, exporter)
            problems += run_board(prometheus, name, board, one_of_it, window, since_push, single, exporter)
        for problem in problems:
            print(problem)
        if "--save" in sys.argv:
            with open(sys.argv[sys.argv.index("--save") + 1], "w") as file:
                json.dump(everything, file)
        assert not problems, f"{len(problems)} problems"
        print(f"{len(everything)} panels of {len(boards)} boards have data")


if __name__ == "__main__":
    main()
