#!/usr/bin/env python3
"""Breaks one thing after the other in a copy and expects the checks to notice: a check that never fails checks nothing.

Rules are broken line by line against `promtool test rules`; boards and deployment files against their own checks.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = "deploy/prometheus/rules.yml"
PYTHON = sys.executable

# (alert, what stands in its rule, what shall stand there)
RULE_BREAKS = [
    *(
        (alert, "for: " + wait, "for: " + other)
        for alert, wait, others in [
            ("ImageSizeGrew", "15m", ("12m", "20m")),
            ("ImageSizeNewestGrew", "15m", ("12m", "20m")),
            ("ImageSizeRepositoryStoredGrew", "15m", ("12m", "20m")),
            ("ImageSizeReclaimable", "1h", ("56m", "64m")),
            ("ImageSizeBaseOutdated", "1w", ("6d", "8d")),
            ("ImageSizeOverBudget", "15m", ("12m", "20m")),
            ("ImageSizeTagUnreadable", "30m", ("27m", "32m")),
            ("ImageSizeTargetIncomplete", "1h", ("58m", "62m")),
            ("ImageSizeScanStale", "5m", ("3m", "7m")),
            ("ImageSizeExporterDown", "5m", ("3m", "7m")),
            ("ImageSizeShardsMismatch", "15m", ("13m", "17m")),
            ("ImageSizeShardMissing", "15m", ("13m", "17m")),
            ("ImageSizeRegistryDenied", "5m", ("1m", "40m")),
            ("ImageSizeCredentialExpired", "5m", ("1m", "40m")),
            ("ImageSizeRateLimitLow", "15m", ("13m", "17m")),
            ("ImageSizeReloadFailed", "5m", ("3m", "7m")),
            ("ImageSizeStateNotPersistent", "5m", ("2m", "7m")),
        ]
        for other in others
    ),
    *(
        (alert, "[1d] offset 1d", other)
        for alert in ("ImageSizeGrew", "ImageSizeRepositoryStoredGrew")
        for other in ("[4h] offset 1d", "[1d] offset 12h", "[1d] offset 2d")
    ),
    *(
        (alert, f"> {join}image_size_exporter:{threshold}", f">= {join}image_size_exporter:{threshold}")
        for alert, join, kind in [
            ("ImageSizeGrew", "on (registry, repository) group_left () ", "growth"),
            ("ImageSizeNewestGrew", "on (registry, repository) group_left () ", "growth"),
            ("ImageSizeRepositoryStoredGrew", "", "stored_growth"),
        ]
        for threshold in (f"{kind}_bytes", f"{kind}_ratio")
    ),
    ("record:thresholds", "or 1.2 *", "or 1.19 *"),
    ("record:thresholds", "or 20 *", "or 21 *"),
    ("record:thresholds", "or 1024 *", "or 1025 *"),
    ("record:thresholds", "or 86400 *", "or 86401 *"),
    ("record:thresholds", "or 0.25 *", "or 0.26 *"),
    ("record:thresholds", "container_image_tag_up", "container_image_tag_ups"),
    *(
        ("record:thresholds", f"exporter:{name}:override", f"exporter:{name}:overrides")
        for name in ("growth_ratio", "growth_bytes", "stored_growth_ratio", "stored_growth_bytes", "unread_seconds", "ratelimit_ratio")
    ),
    ("ImageSizeNewestGrew", "container_image_newest_previous_info", "container_image_newest_info"),
    ("ImageSizeGrew", "container_image_tag_info{registry=%q,repository=%q,tag=%q} offset 1d", "container_image_tag_info{registry=%q,repository=%q,tag=%q}"),
    ("ImageSizeNotRead", "== 0", "== 1"),
    ("ImageSizeNotRead", "offset 1d", "offset 2h"),
    ("ImageSizeNotRead", "for: 15m", "for: 45m"),
    ("ImageSizeSelectsNothing", "== 0", "== 1"),
    ("ImageSizeSelectsNothing", "max by", "min by"),
    ("ImageSizeSelectsNothing", "for: 30m", "for: 45m"),
    ("ImageSizeSelectsNothing", "unless on (target)", "or on (target)"),
    ("ImageSizeSelectsNothing", "group by (target, shard_ordinal)", "group by (target)"),
    ("ImageSizeSelectsNothing", "group by (target, shard_ordinal)", "group by (target, instance)"),
    ("ImageSizeSelectsNothing", "max by (job, instance) (image_size_exporter_shard_ordinal)", "image_size_exporter_shard_ordinal"),
    ("ImageSizeShardsMismatch", "!=", "=="),
    ("ImageSizeShardMissing", "group by (job, namespace, shard_ordinal)", "group by (job, namespace, instance)"),
    ("ImageSizeTargetIncomplete", "min by (target)", "max by (target)"),
    ("ImageSizeTargetIncomplete", "max by (target, shard_ordinal)", "min by (target, shard_ordinal)"),
    ("ImageSizeSourceDown", "min by (source)", "max by (source)"),
    ("ImageSizeNewestGrew", "unless", "and"),
    ("ImageSizeNewestGrew", "[1d] offset 1d", "[1d] offset 2d"),
    ("ImageSizeNewestGrew", "container_image_newest_info", "container_image_newest_infos"),
    ("ImageSizeReclaimable", "> 0.5", ">= 0.5"),
    ("ImageSizeReclaimable", "> 10 *", ">= 10 *"),
    ("ImageSizeReclaimable", "(registry, policy) (", "(registry, policy, instance) ("),
    ("ImageSizeReclaimable", "container_image_registry_stored_size_bytes[10m]", "container_image_registry_stored_size_bytes[1m]"),
    ("ImageSizeBaseOutdated", "== 0", "== 1"),
    ("ImageSizeBaseOutdated", "container_image_base_info", "container_image_base_infos"),
    ("ImageSizeGrew", "container_image_base_size_bytes", "container_image_base_sizes_bytes"),
    ("ImageSizeNewestGrew", "container_image_base_size_bytes", "container_image_base_sizes_bytes"),
    ("ImageSizeOverBudget", "\n> 1\n", "\n>= 1\n"),
    ("ImageSizeOverBudget", "\n> 1\n", "\n> 1.1\n"),
    ("ImageSizeOverBudget", "[10m]", "[1m]"),
    ("ImageSizeTagUnreadable", "max by", "min by"),
    ("ImageSizeTagUnreadable", "[10m]", "[1m]"),
    ("ImageSizeTargetIncomplete", "max by", "min by"),
    ("ImageSizeTargetIncomplete", "[10m]", "[1m]"),
    ("ImageSizeScanStale", "3 * image", "2 * image"),
    ("ImageSizeScanStale", "3 * image", "4 * image"),
    ("ImageSizeScanStale", "\n  or\n    image", "\n  unless\n    image"),
    ("ImageSizeScanStale", "\n  or\n    3 *", "\n  unless\n    3 *"),
    ("ImageSizeScanStale", "clamp_max(8 *", "clamp_max(7 *"),
    ("ImageSizeScanStale", "clamp_max(8 *", "clamp_max(9 *"),
    ("ImageSizeScanStale", "3600", "3500"),
    ("ImageSizeScanStale", "), 300)", "), 20)"),
    ("ImageSizeScanStale", "), 300)", "), 500)"),
    ("ImageSizeScanStale", "== bool 0", "== bool 1"),
    ("ImageSizeScanStale", "process_start_time_seconds > image", "process_start_time_seconds < image"),
    ("ImageSizeExporterDown", "== 0", "== 1"),
    ("ImageSizeExporterDown", 'absent(up{job="image-size-exporter"})', 'absent(up{job="other"})'),
    ("ImageSizeExporterDown", 'up{job="image-size-exporter"} == 0', "up == 0"),
    ("ImageSizeRegistryDenied", "[2h]", "[1h]"),
    ("ImageSizeRegistryDenied", "[2h]", "[4h]"),
    ("ImageSizeRegistryDenied", "[2d]", "[1d]"),
    ("ImageSizeRegistryDenied", "[2d]", "[3d]"),
    ("ImageSizeRegistryDenied", "offset 2h", "offset 4h"),
    ("ImageSizeRegistryDenied", "offset 2h", "offset 1h"),
    ("ImageSizeRegistryDenied", "offset 2d", "offset 4d"),
    ("ImageSizeRegistryDenied", "- 7200", "- 3600"),
    ("ImageSizeRegistryDenied", "- 7200", "- 10800"),
    ("ImageSizeRegistryDenied", "[10m]) > 3600", "[10m]) > 36000"),
    ("ImageSizeRegistryDenied", "[10m]) > 3600", "[1m]) > 3600"),
    ("ImageSizeRegistryDenied", "[10m]) == 1", "[10m]) == 0"),
    ("ImageSizeRegistryDenied", 'reason="denied"', 'reason!=""'),
    ("ImageSizeRegistryDenied", "sum by (job, registry)", "sum by (job, registry, operation)"),
    ("ImageSizeCredentialExpired", "[1h]", "[1m]"),
    ("ImageSizeCredentialExpired", "[1h]", "[4h]"),
    ("ImageSizeCredentialExpired", "and on (job, instance, registry)", "or on (job, instance, registry)"),
    ("ImageSizeCredentialExpired", 'reason="denied"', 'reason!=""'),
    ("ImageSizeCredentialExpired", "max by (job, registry)", "max by (job, instance, registry)"),
    ("ImageSizeRateLimitLow", "< image", "<= image"),
    ("record:ImageSizeRateLimitLow", "or 0.25 *", "or 0.24 *"),
    ("ImageSizeRateLimitLow", "min by (registry)", "min by (registry, instance)"),
    ("ImageSizeReloadFailed", "== 0", "== 1"),
    ("ImageSizeStateNotPersistent", "== 0", "== 1"),
    # The recorded series: without the bridge, with the instance.
    ("record:ImageSizeGrew", "container_image_compressed_size_bytes[10m]", "container_image_compressed_size_bytes[1m]"),
    ("record:ImageSizeNewestGrew", "container_image_newest_compressed_size_bytes[10m]", "container_image_newest_compressed_size_bytes[1m]"),
    ("record:ImageSizeGrew", "max by (registry, repository, tag, platform)", "max by (registry, repository, tag, platform, instance)"),
    ("record:ImageSizeRepositoryStoredGrew", "max by (registry, repository) (", "max by (registry, repository, instance) ("),
]

# (check, file, what stands there, what shall stand there)
FILE_BREAKS = [
    ("check_boards.py", "grafana/overview.json", '"x": 4,', '"x": 3,'),
    ("check_boards.py", "grafana/overview.json", '"uid": "image-size-overview"', '"uid": "image-size-image"'),
    ("check_boards.py", "grafana/boards.py", '"Stored",\n            "bytes"', '"Stored",\n            "s"'),
    ("check_boards.py", "grafana/boards.py", "container_image_registry_stored_size_bytes", "container_image_registry_size_bytes"),
    ("check_boards.py", "grafana/boards.py", '"Images watched: one for each tag and platform."', '""'),
    ("check_boards.py", "grafana/boards.py", "left, line = left + size", "left, line = size"),
    ("check_boards.py", "grafana/boards.py", 'topk($top, {expr})"', '{expr}"'),
    ("check_boards.py", "grafana/boards.py", "[$__rate_interval]", "[5m]"),
    ("check_boards.py", "grafana/boards.py", 'if name not in ("job", "instance")', "if True"),
    ("check_chart.py", "deploy/prometheus/rules.yml", "for: 15m", "for: 16m"),
    ("check_chart.py", "grafana/image.json", "now-7d", "now-8d"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/statefulset.yaml", "serviceName:", "servicename:"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/statefulset.yaml", "- name: state\n              mountPath", "- name: data\n              mountPath"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/statefulset.yaml", "--total-shards={{ .Values.shards }}", "--total-shards=2"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/_helpers.tpl", 'trunc 57 | trimSuffix "-" }}-shard', 'trunc 57 | trimSuffix "-" }}'),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/statefulset.yaml", "initialDelaySeconds: {{ $", "initialDelay: {{ $"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/service.yaml", "publishNotReadyAddresses: true", "publishNotReadyAddresses: false"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/service.yaml", "targetPort: metrics", "targetPort: http"),
    ("check_chart.py", "deploy/helm/image-size-exporter/templates/servicemonitor.yaml", "- port: metrics", "- port: http"),
    ("check_chart.py", "deploy/helm/image-size-exporter/values.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ("check_chart.py", "deploy/helm/image-size-exporter/values.schema.json", '"replicas"', '"replica"'),
    ("check_chart.py", "deploy/kubernetes/statefulset.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: yes please"),
    ("check_chart.py", "deploy/kubernetes/shards/kustomization.yaml", "--total-shards=3", "--total-shards=2"),
    ("check_chart.py", "deploy/kubernetes/kustomization.yaml", "  - service.yaml\n", ""),
    ("check_chart.py", "deploy/kubernetes/statefulset.yaml", "[ReadWriteOnce]", "[ReadWriteOncePod]"),
    ("check_chart.py", "deploy/kubernetes/statefulset.yaml", " --namespace image-size-exporter", ""),
    ("check_chart.py", "deploy/helm/image-size-exporter/values.yaml", "[ReadWriteOnce]", "[ReadWriteOncePod]"),
    ("check_consistency.py", "deploy/prometheus/RUNBOOK.md", "## ImageSizeGrew", "## ImageSizeGrown"),
    ("check_consistency.py", "deploy/prometheus/RUNBOOK.md", "**Mitigation.**", "**Cure.**"),
    ("check_consistency.py", "deploy/prometheus/rules.yml", "RUNBOOK.md#imagesizegrew", "RUNBOOK.md#grew"),
    ("check_consistency.py", "deploy/prometheus/rules.yml", "container_image_tag_up", "container_image_up"),
    ("check_consistency.py", "deploy/compose/compose.yaml", "../prometheus/rules.yml", "../prometheus/rule.yml"),
    ("check_consistency.py", "deploy/compose/compose.yaml", "../../grafana/image.json", "../../grafana/exporter.json"),
    ("check_consistency.py", "deploy/compose/prometheus.yml", "exporter:10048", "exporter:10049"),
    ("check_consistency.py", "deploy/kubernetes/statefulset.yaml", "listen-address=:10048", "listen-address=0.0.0.0:10048"),
    ("check_consistency.py", "deploy/compose/config.toml", '":10048"', '"0.0.0.0:10048"'),
    ("check_consistency.py", "deploy/README.md", "LISTEN=:10048", "LISTEN=0.0.0.0:10048"),
    ("check_consistency.py", "deploy/prometheus/prometheus.yml", "about fifteen", "about a dozen"),
    ("check_consistency.py", "deploy/prometheus/RUNBOOK.md", " --config.file=… OLD NEW", " OLD NEW"),
    ("check_consistency.py", "deploy/docker/Dockerfile", "ARG RUST_VERSION=1", "ARG RUST_VERSION=2"),
    ("check_consistency.py", "deploy/docker/Dockerfile", "/etc/image-size-exporter/config.toml", "/etc/config.toml"),
    ("check_consistency.py", "deploy/systemd/image-size-exporter.service", "config.toml --config.check", "config.tml --config.check"),
    ("check_release.py", "Cargo.toml", 'version = "0.1.0"', 'version = "0.1.1"'),
    ("check_release.py", "CHANGELOG.md", "## 0.1.0 / unreleased", "## 0.2.0 / unreleased"),
    ("check_release.py", "CHANGELOG.md", "/ unreleased", "/ 2026-12-01"),
    ("check_release.py", "deploy/helm/image-size-exporter/Chart.yaml", "\nversion: 0.1.0", "\nversion: 0.1.1"),
    ("check_release.py", "deploy/helm/image-size-exporter/Chart.yaml", "exporter:0.1.0", "exporter:0.0.9"),
    ("check_release.py", "deploy/helm/image-size-exporter/Chart.yaml", "RUNBOOK.md", "RUNBOOKS.md"),
    ("check_release.py", "deploy/kubernetes/kustomization.yaml", "newTag: 0.1.0", "newTag: latest"),
    ("check_release.py", "deploy/kubernetes/kustomization.yaml", "No release is published yet", "Published"),
    ("check_release.py", "deploy/helm/image-size-exporter/values.yaml", "No release is published yet", "Published"),
    ("check_release.py", "docs/install.md", "No release is published yet", "Everything is published"),
    ("check_release.py", "docs/install.md", "_0.1.0-1_", "_0.1.1-1_"),
    ("check_release.py", "deploy/compose/compose.yaml", "image: image-size-exporter:compose", "image: ghcr.io/x/y:0.1.0"),
    ("check_release.py", ".github/workflows/tests.yml", "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "v7"),
    ("check_release.py", ".github/workflows/tests.yml", "rust:1.", "rust:2."),
    ("check_release.py", ".github/workflows/release.yml", "run: deploy/release/run", "run: deploy/release/runs"),
    ("check_schema.py", "deploy/config.schema.json", '"additionalProperties": false', '"additionalProperties": true'),
    ("check_schema.py", "deploy/config.schema.json", '"minimum": 1', '"minimum": 0'),
    ("check_schema.py", "deploy/config.schema.json", '"created"', '"name"'),
]


def rules_and_tests(folder, alert):
    """The recording rules and one alert, and of the tests those that ask for it, or for `thresholds`: the others take
    long and tell nothing."""
    groups = yaml.safe_load((folder / RULES).read_text())["groups"]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert", alert) == alert]
    files = []
    for path in sorted((folder / "deploy/prometheus/tests").glob("*.yml")):
        suite = yaml.safe_load(path.read_text())
        for test in suite["tests"]:
            test["alert_rule_test"] = [case for case in test.get("alert_rule_test", []) if case["alertname"] == alert]
            if alert != "thresholds":
                test.pop("promql_expr_test", None)
        suite["tests"] = [test for test in suite["tests"] if test["alert_rule_test"] or "promql_expr_test" in test]
        if suite["tests"]:
            path.write_text(yaml.safe_dump(suite))
            files.append(str(path))
    return groups, files


def replaced(value, old, new):
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict):
        return {key: replaced(part, old, new) for key, part in value.items()}
    return value


def promtool(folder, groups, files):
    (folder / RULES).write_text(yaml.safe_dump({"groups": groups}, sort_keys=False))
    return subprocess.run(["promtool", "test", "rules", *files], capture_output=True).returncode


def copy(target):
    for name in (
        "deploy",
        "grafana",
        "tests/deploy",
        "src",
        "Cargo.toml",
        "Cargo.lock",
        "CHANGELOG.md",
        "config.toml",
        ".github",
        "rust-toolchain.toml",
        ".dockerignore",
        "README.md",
        "docs",
        "tests/it/config",
    ):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)


def break_rule(case):
    alert, old, new = case
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copytree(ROOT / "deploy/prometheus", folder / "deploy/prometheus")
        groups, files = rules_and_tests(folder, alert.removeprefix("record:"))
        found = False
        for group in groups:
            for index, rule in enumerate(group["rules"]):
                if ("record" in rule) != alert.startswith("record:"):
                    continue
                if old.startswith("for: "):
                    broken = {**rule, "for": new.removeprefix("for: ")}
                else:
                    broken = replaced(rule, old, new)
                found = found or broken != rule
                group["rules"][index] = broken
        assert found, f"{alert}: {old!r} is not there"
        if promtool(folder, groups, files) == 0:
            return f"{alert}: {old!r} → {new!r} goes unnoticed"
    return None


def break_file(case):
    check, file, old, new = case
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        copy(folder)
        text = (folder / file).read_text()
        assert old in text, f"{file}: {old!r} is not there"
        (folder / file).write_text(text.replace(old, new))
        if file == "grafana/boards.py":
            # Written anew, so that it is the board that is found wrong and not only that it was not written.
            subprocess.run([PYTHON, folder / file], check=True)
        if subprocess.run([PYTHON, folder / "tests/deploy" / check], capture_output=True).returncode == 0:
            return f"{check}: {file}: {old!r} → {new!r} goes unnoticed"
    return None


def main():
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        unnoticed = [found for found in pool.map(break_rule, RULE_BREAKS) if found]
        unnoticed += [found for found in pool.map(break_file, FILE_BREAKS) if found]
    for line in unnoticed:
        print(line)
    print(f"{len(RULE_BREAKS) + len(FILE_BREAKS)} broken things, {len(unnoticed)} unnoticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
