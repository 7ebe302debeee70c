#!/usr/bin/env python3
"""Versions that are to agree, actions that are to be pinned, and images that must not be promised. Exits 1 on a problem."""

import pathlib
import re
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = "ghcr.io/image-size-exporter/"
UNRELEASED = "no release is published yet"


def read(path):
    return (ROOT / path).read_text()


def changelog():
    """Version and date of the newest entry; no date before it is released."""
    version, date = re.search(r"^## (\S+) / (\S+)$", read("CHANGELOG.md"), re.M).groups()
    assert date == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", date), f"CHANGELOG.md: {date}"
    return version, None if date == "unreleased" else date


def check_versions(version):
    chart = yaml.safe_load(read("deploy/helm/image-size-exporter/Chart.yaml"))
    notes = chart["annotations"]
    (image,) = yaml.safe_load(notes["artifacthub.io/images"])
    found = {
        "Cargo.lock": [p["version"] for p in tomllib.loads(read("Cargo.lock"))["package"] if p["name"] == chart["name"]],
        "CHANGELOG.md": [changelog()[0]],
        "Chart.yaml": [chart["version"], chart["appVersion"], image["image"].rpartition(":")[2]],
        "kustomization.yaml": [i["newTag"] for i in yaml.safe_load(read("deploy/kubernetes/kustomization.yaml"))["images"]],
        "docs/install.md": re.findall(r"(?<=[-_:v ])(\d+\.\d+\.\d+(?:-[a-z]+\.\d+)?)(?=[-_./\s])", read("docs/install.md")),
    }
    for where, versions in found.items():
        assert versions and set(versions) == {version}, f"{where}: {sorted(set(versions))}, and Cargo.toml says {version}"
    assert notes["artifacthub.io/prerelease"] == str("-" in version).lower()
    assert notes["artifacthub.io/license"] == tomllib.loads(read("Cargo.toml"))["package"]["license"]
    for link in yaml.safe_load(notes["artifacthub.io/links"]):
        path = re.fullmatch(r"https://github.com/[^/]+/[^/]+/blob/main/([^#]+)(#.*)?", link["url"])[1]
        assert (ROOT / path).is_file(), f"Chart.yaml links to {path}, which does not exist"

    # Compose runs what it builds: it names no version.
    exporter = yaml.safe_load(read("deploy/compose/compose.yaml"))["services"]["exporter"]
    assert "build" in exporter and exporter["image"] == "image-size-exporter:compose", "compose: an image that it does not build"


def check_promises():
    """A file that names the published image says that there is none yet, until there is one; then none says so."""
    released = changelog()[1] is not None
    places = [ROOT / place for place in ("README.md", "docs", "deploy", "config.toml")]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    naming = 0
    for path in (file.relative_to(ROOT).as_posix() for file in files if file.is_file() and file.suffix != ".png"):
        text = re.sub(r"[\s#*]+", " ", read(path)).lower()
        if released:
            assert UNRELEASED not in text, f"{path} says that {UNRELEASED}, and CHANGELOG.md has a date"
        elif IMAGE in text or (path.endswith("values.yaml") and "registry: ghcr.io" in text):
            naming += 1
            assert UNRELEASED in text, f"{path} names the image as if it were published: say that {UNRELEASED}"
    assert released or naming > 3, "the image is named nowhere: what is this check looking at?"


def check_workflows():
    """Actions by commit, with the version beside it, one for each action; rights named; what the script does is there."""
    pins = {}
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        text = path.read_text()
        for line in re.findall(r"uses: (.*)", text):
            match = re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
            assert match, f"{path.name}: {line} is not pinned by a commit, with its version in a comment"
            pins.setdefault(match[1], set()).add(match.groups()[1:])
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"}, f"{path.name}: more than reading, for all jobs"
        for name, job in workflow["jobs"].items():
            assert "timeout-minutes" in job, f"{path.name}: {name} has no timeout"
        toolchain = tomllib.loads(read("rust-toolchain.toml"))["toolchain"]["channel"]
        for image in re.findall(r"image: rust:(\S+)-bookworm", text):
            assert image == toolchain, f"{path.name}: Rust {image}, and rust-toolchain.toml says {toolchain}"
        for script in re.findall(r"(?<![\w./])((?:deploy|tests)/[\w/.]+)", text):
            assert (ROOT / script).exists(), f"{path.name}: there is no {script}"
    for action, versions in pins.items():
        assert len(versions) == 1, f"{action} is pinned to {sorted(versions)}"
    assert {"actions/attest-build-provenance", "sigstore/cosign-installer"} <= set(pins), sorted(pins)


def main():
    check_versions(tomllib.loads(read("Cargo.toml"))["package"]["version"])
    check_promises()
    check_workflows()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        raise SystemExit(f"release: {error}") if str(error) else error
