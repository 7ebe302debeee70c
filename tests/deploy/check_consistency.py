#!/usr/bin/env python3
"""What the files of deploy/ say about each other, and, given a binary, about the exporter. Exits 1 on a problem.

check_consistency.py [BINARY]
"""

import configparser
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml

import contract

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PORT = 10048
ALERTS = {
    "ImageSizeGrew",
    "ImageSizeNewestGrew",
    "ImageSizeRepositoryStoredGrew",
    "ImageSizeReclaimable",
    "ImageSizeBaseOutdated",
    "ImageSizeOverBudget",
    "ImageSizeRunningOverBudget",
    "ImageSizeRunningTagGone",
    "ImageSizeSourceDown",
    "ImageSizeTagUnreadable",
    "ImageSizeNotRead",
    "ImageSizeSelectsNothing",
    "ImageSizeTargetIncomplete",
    "ImageSizeScanStale",
    "ImageSizeExporterDown",
    "ImageSizeShardsMismatch",
    "ImageSizeShardMissing",
    "ImageSizeRegistryDenied",
    "ImageSizeCredentialExpired",
    "ImageSizeRateLimitLow",
    "ImageSizeReloadFailed",
    "ImageSizeStateNotPersistent",
}


def load(path):
    return yaml.safe_load((ROOT / path).read_text())


def check_rules():
    rules = [rule for group in load("deploy/prometheus/rules.yml")["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    alerts = [rule for rule in rules if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == ALERTS
    thresholds = {name for name in recorded if name.endswith(":threshold")}
    overrides = {name.replace(":threshold", ":override") for name in thresholds}
    for rule in rules:
        problems = contract.problems_of(rule["expr"], recorded | overrides)
        assert not problems, f"{rule.get('alert') or rule['record']}: {problems}"
    for name in recorded - thresholds:
        level, family, operation = name.split(":")
        assert operation == "group" or family in contract.FAMILIES and operation == "max", name
        assert operation == "group" or set(level.split("_")) <= contract.FAMILIES[family], name
    # A threshold stands in its own rule only, and a rule of the user's can replace it.
    for rule in rules:
        if rule.get("record") in thresholds:
            assert rule["record"].replace(":threshold", ":override") in rule["expr"], rule["record"]
    for name in thresholds:
        assert any(name in rule["expr"] for rule in alerts), f"{name}: no alert asks for it"
    examples = [rule for group in load("deploy/prometheus/overrides.yml")["groups"] for rule in group["rules"]]
    for rule in examples:
        assert rule["record"] in overrides, rule["record"]
        problems = contract.problems_of(re.sub(r"label_\w+=", "repository=", rule["expr"]))
        assert not problems, f"overrides.yml, {rule['record']}: {problems}"

    runbook = (DEPLOY / "prometheus/RUNBOOK.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", runbook, re.M | re.S))
    guide = sections.pop("Thresholds")
    table = set(re.findall(r"^\| `(image_size_exporter:\w+):override`", guide, re.M))
    assert table == {name.removesuffix(":threshold") for name in thresholds}, f"runbook: thresholds {table}"
    assert set(sections) == ALERTS, f"runbook: {set(sections) ^ ALERTS}"
    tested = "\n".join(path.read_text() for path in (DEPLOY / "prometheus/tests").glob("*.yml"))
    for alert in alerts:
        name = alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        notes = alert["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}, name
        assert "{{" not in notes["summary"] and notes["summary"].endswith("."), f"{name}: summary is a static sentence"
        assert "$labels." in notes["description"], f"{name}: description says which"
        assert notes["runbook_url"].endswith(f"deploy/prometheus/RUNBOOK.md#{name.lower()}"), name
        assert re.findall(r"\*\*(\w+)\.\*\*", sections[name]) == ["Meaning", "Impact", "Diagnosis", "Mitigation"], name
        # Without the file they would ask with other credentials than the exporter that the alert is about.
        for command, rest in re.findall(r"image-size-exporter (inspect|plan)\b([^`\n]*)", runbook):
            assert rest.startswith(" --config.file="), f"runbook: {command}{rest} does not say which configuration"
        for metric in re.findall(r"`((?:container_image|image_size_exporter)_\w+)", sections[name]):
            assert metric in contract.FAMILIES or f"{metric}_bucket" in contract.FAMILIES, f"runbook, {name}: {metric}"
        cases = re.findall(rf"alertname: {name}\b(?:, exp_alerts: (\[\]|\*\w+))?", tested)
        assert "[]" in cases and len(cases) > cases.count("[]"), f"{name} is not tested both to fire and to be silent"


def check_addresses():
    """Whatever runs in a container listens on IPv4 and IPv6: which of them its network has is not for us to know."""
    every = f":{PORT}"
    (container,) = load("deploy/kubernetes/statefulset.yaml")["spec"]["template"]["spec"]["containers"]
    assert f"--web.listen-address={every}" in container["args"], "kubernetes: not every address"
    compose = tomllib.loads((DEPLOY / "compose/config.toml").read_text())
    assert compose.get("web", {}).get("listen") == every, "compose: not every address"
    text = (DEPLOY / "README.md").read_text()
    (docker,) = [line for block in blocks(text) for line in block if line.startswith("docker run ")]
    assert f"--env IMAGE_SIZE_EXPORTER__WEB__LISTEN={every} " in docker, "docker run: not every address"
    template = (DEPLOY / "helm/image-size-exporter/templates/statefulset.yaml").read_text()
    assert f"--web.listen-address={every}\n" in template, "chart: not every address"


def check_compose():
    folder = DEPLOY / "compose"
    services = load("deploy/compose/compose.yaml")["services"]
    mounted = {}
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                assert (folder / source).exists(), f"compose, {name}: {source} does not exist"
                mounted[name, target] = (folder / source).resolve()
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"compose, {name}: {port} is open to the network"

    prometheus = load("deploy/compose/prometheus.yml")
    for file in prometheus["rule_files"]:
        assert mounted["prometheus", file] == DEPLOY / "prometheus/rules.yml"
    (job,) = prometheus["scrape_configs"]
    assert job["job_name"] == "image-size-exporter" and job["static_configs"][0]["targets"] == [f"exporter:{PORT}"]
    manager = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert manager == ["alertmanager:9093"] and "alertmanager" in services

    boards = load("grafana/provisioning/dashboards/image-size-exporter.yaml")["providers"][0]["options"]["path"]
    for path in (ROOT / "grafana").glob("*.json"):
        assert mounted["grafana", f"{boards}/{path.name}"] == path, f"compose does not mount {path.name}"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert ("grafana", home) in mounted
    assert mounted["grafana", "/etc/grafana/provisioning"] == ROOT / "grafana/provisioning"
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]

    build = services["exporter"]["build"]
    context = (folder / build["context"]).resolve()
    assert context == ROOT and (context / build["dockerfile"]).is_file()
    config = tomllib.loads((folder / "config.toml").read_text())
    assert str(pathlib.PurePosixPath(config["state"]["path"]).parent) in [v.split(":")[1] for v in services["exporter"]["volumes"]]
    for registry in config["registries"]:
        host, port = registry.split(":")
        assert any(mapping.endswith(f":{port}") for mapping in services[host]["ports"])


def check_image():
    dockerfile = (DEPLOY / "docker/Dockerfile").read_text()
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    assert f"ARG RUST_VERSION={toolchain}\n" in dockerfile, "Dockerfile: not the toolchain of rust-toolchain.toml"
    assert re.findall(r"^FROM (\S+)", dockerfile, re.M)[-1] == "scratch"
    assert f"\nEXPOSE {PORT}\n" in dockerfile and "\nUSER 65532:65532\n" in dockerfile
    (command,) = re.findall(r"^CMD (\[.*\])$", dockerfile, re.M)
    (path,) = [flag.partition("=")[2] for flag in json.loads(command)]
    (health,) = re.findall(r"^    CMD (\[.*\])$", dockerfile, re.M)
    assert json.loads(health)[1:] == ["health", f"--config.file={path}"], "health asks another configuration"
    volumes = load("deploy/compose/compose.yaml")["services"]["exporter"]["volumes"]
    assert any(volume.split(":")[1] == path for volume in volumes), f"compose mounts nothing at {path}"
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", dockerfile))
    assert labels >= {"title", "description", "licenses", "source", "documentation", "version", "revision", "created"}
    # What the build reads must not be ignored.
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept >= {name for name in ("Cargo.toml", "Cargo.lock", "build.rs", "src") if (ROOT / name).exists()}
    included = set()
    for source in (ROOT / "src").rglob("*.rs"):
        for file in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
            included.add((source.parent / file).resolve().relative_to(ROOT).parts[0])
    assert included <= kept, f".dockerignore hides {included - kept}, which the sources include"


def check_helm_and_plain():
    values = load("deploy/helm/image-size-exporter/values.yaml")
    assert values["service"]["port"] == PORT
    image = f"{values['image']['registry']}/{values['image']['repository']}"
    assert load("deploy/kubernetes/kustomization.yaml")["images"][0]["name"] == image


def unit(name):
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.optionxform = str
    parser.read(DEPLOY / "systemd" / name)
    return parser


def check_systemd():
    text = (DEPLOY / "systemd/image-size-exporter.service").read_text()
    reloads = re.findall(r"^ExecReload=(.*)$", text, re.M)
    assert "--config.check" in reloads[0] and reloads[1] == "/bin/kill -HUP $MAINPID"
    start = unit("image-size-exporter.service")["Service"]["ExecStart"]
    (config,) = re.findall(r"--config\.file=(\S+)", start)
    assert f"--config.file={config} " in reloads[0], "what is checked is not what is loaded"
    assert "--web.systemd-socket" in start
    assert unit("image-size-exporter.socket")["Socket"]["ListenStream"] == str(PORT)


def blocks(text):
    """The commands of each shell block of a document, one line each."""
    return [block.replace("\\\n", " ").splitlines() for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)]


def check_install(binary):
    """README's commands that install the unit work from the repository's root, once the binary is built. They are run
    there, except that what they install goes to another root than this machine's."""
    (commands,) = [block for block in blocks((DEPLOY / "README.md").read_text()) if any("systemctl" in line for line in block)]
    build, *install = [line for line in commands if not line.startswith("systemctl ")]
    assert re.fullmatch(r"cargo build --profile dist --locked --all-features", build), f"{build} does not build what is installed"
    with tempfile.TemporaryDirectory() as name:
        root, checkout = pathlib.Path(name, "root"), pathlib.Path(name, "checkout")
        (checkout / "target/dist").mkdir(parents=True)
        (checkout / "target/dist/image-size-exporter").symlink_to(pathlib.Path(binary).resolve())
        for entry in ("config.toml", "deploy"):
            (checkout / entry).symlink_to(ROOT / entry)
        for line in install:
            assert line.startswith("install -"), line
            redirected = re.sub(r" /(?=usr/|etc/)", f" {root}/", line)
            done = subprocess.run(["sh", "-c", redirected], cwd=checkout, capture_output=True, text=True)
            assert done.returncode == 0, f"deploy/README.md: {line}: {done.stderr}"
        start = unit("image-size-exporter.service")["Service"]["ExecStart"]
        for path in (start.split()[0], *re.findall(r"--config\.file=(\S+)", start)):
            assert (root / path[1:]).is_file(), f"deploy/README.md does not install {path}, which the unit starts with"


def check_numbers():
    """What two documents say, they say alike."""
    counts = [
        re.search(r"[Aa]bout (\w+) for each image|An image is about (\w+) series", (ROOT / path).read_text())
        for path in ("docs/faq.md", "deploy/prometheus/prometheus.yml")
    ]
    assert all(counts), "docs/faq.md or prometheus.yml does not say how many series an image has"
    assert len({count[1] or count[2] for count in counts}) == 1, "docs/faq.md and prometheus.yml: series of an image"


def flags_used():
    """(where, flag) of every flag that is given to the exporter."""
    found = []
    for path in sorted(DEPLOY.rglob("*")):
        if not path.is_file() or path.parts[-2] in ("dashboards", "tests"):
            continue
        text = path.read_text()
        if path.name == "compose.yaml":
            continue
        if path.name in ("Dockerfile", "image-size-exporter.service", "README.md", "RUNBOOK.md") or "helm" in path.parts or "kubernetes" in path.parts:
            found += [(path.relative_to(ROOT), flag) for flag in re.findall(r"(--(?:config|web|log)\.[a-z.-]+)", text)]
    assert len(found) > 5
    return found


def configurations():
    """(where, text) of every configuration file that is given to the exporter."""
    chart = DEPLOY / "helm/image-size-exporter"
    yield "compose", (DEPLOY / "compose/config.toml").read_text()
    yield "kubernetes", (DEPLOY / "kubernetes/config.toml").read_text()
    yield "chart, default", yaml.safe_load((chart / "values.yaml").read_text())["config"]["content"]
    yield "chart, full", yaml.safe_load((chart / "ci/full-values.yaml").read_text())["config"]["content"]


def check_binary(binary):
    usage = subprocess.run([binary, "--help"], check=True, capture_output=True, text=True).stdout
    known = set(re.findall(r"(--[a-z.-]+)", usage))
    for where, flag in flags_used():
        assert flag in known, f"{where}: {flag} is no flag of the exporter"
    commands = set(re.findall(r"^\s{2,}([a-z]+)(?:\s|$)", usage, re.M))
    for where in ("docker/Dockerfile", "prometheus/RUNBOOK.md"):
        for command in re.findall(r'image-size-exporter"?,? "?(inspect|plan|health|demo)\b', (DEPLOY / where).read_text()):
            assert command in commands, f"{where}: {command} is no command of the exporter"
    for where, text in configurations():
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "config.toml"
            file.write_text(text)
            done = subprocess.run([binary, f"--config.file={file}", "--config.check"], capture_output=True, text=True)
            assert done.returncode == 0, f"{where}: {done.stdout}{done.stderr}"


def main():
    check_rules()
    check_addresses()
    check_compose()
    check_image()
    check_helm_and_plain()
    check_systemd()
    check_numbers()
    flags_used()
    for _, text in configurations():
        tomllib.loads(text)
    if len(sys.argv) > 1:
        check_binary(sys.argv[1])
        check_install(sys.argv[1])
    else:
        print("no binary given: flags and configurations are not held against it")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        raise SystemExit(f"not consistent: {error}") if str(error) else error
