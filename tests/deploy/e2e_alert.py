#!/usr/bin/env python3
"""A release that is 40 % bigger is pushed, and the alert arrives at a webhook: registry, exporter, Prometheus with the
rules of deploy/prometheus, Alertmanager.

Nobody wants to wait a quarter of an hour for it, so a copy of the rules is used with `for: 15m` and the group's
`interval: 2m` made one second. Expressions and labels are as shipped.
"""

import http.server
import json
import queue
import re

from programs import MIB, ROOT, Programs, Query, Repository, layer, wait_for

arrived = queue.Queue()


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in message["alerts"]:
            arrived.put(alert)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def quick_rules():
    text = (ROOT / "deploy/prometheus/rules.yml").read_text()
    assert "interval: 2m" in text and "for: 15m" in text
    return text.replace("interval: 2m", "interval: 1s").replace("for: 15m", "for: 1s")


def next_alert(name, status):
    while True:
        alert = arrived.get(timeout=60)
        if alert["labels"]["alertname"] == name and alert["status"] == status:
            return alert


def main():
    with Programs() as programs:
        registry = programs.registry()
        app = Repository(registry, "acme/app")
        app.image("v1.0.0", [layer(60 * MIB, "one")])
        exporter = programs.exporter(
            f"""
            [scan]
            interval = "1s"

            [[targets]]
            name = "backend"
            repository = "{registry}/acme/app"
            match = ['^v']
            newest = "semver"
            """
        )
        manager = programs.alertmanager(f"http://{programs.serve(Webhook)}/")
        prometheus = Query(programs.prometheus(exporter, programs.write("rules.yml", quick_rules()), manager))

        newest = "registry_repository_target_platform:container_image_newest_compressed_size_bytes:max"
        wait_for("the first release is judged", lambda: prometheus.now(newest))
        assert prometheus.now('ALERTS{alertname="ImageSizeNewestGrew"}') == [], "an alert with only one release"

        app.image("v1.1.0", [layer(84 * MIB, "two")])
        alert = next_alert("ImageSizeNewestGrew", "firing")
        expected = {
            "alertname": "ImageSizeNewestGrew",
            "severity": "warning",
            "registry": registry,
            "repository": "acme/app",
            "target": "backend",
            "platform": "linux/amd64",
        }
        assert alert["labels"] == expected, alert["labels"]
        told = alert["annotations"]["description"]
        assert f"{registry}/acme/app (linux/amd64), v1.1.0," in told and re.search(r"24(\.\d+)?MiB bigger", told), told

        app.image("v1.2.0", [layer(61 * MIB, "three")])
        assert next_alert("ImageSizeNewestGrew", "resolved")["labels"] == expected
        print(told)


if __name__ == "__main__":
    main()
