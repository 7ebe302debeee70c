#!/usr/bin/env python3
"""The files that deploy/release/run has made: checksums, archive, SBOM, completions, manual pages, chart; the Debian and
the RPM package installed into a folder as if it were a machine, and removed again without rest. As root.

e2e_release.py DIR
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "image-size-exporter"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
PACKAGED = VERSION.replace("-", "~", 1)
UNITS = [f"{NAME}.service", f"{NAME}.socket"]
# Of both packages, where each system looks for it: (Debian, RPM). Manual pages come to it.
INSTALLED = [
    (f"usr/bin/{NAME}", f"usr/bin/{NAME}"),
    (f"etc/{NAME}/config.toml", f"etc/{NAME}/config.toml"),
    (f"usr/share/{NAME}/config.schema.json", f"usr/share/{NAME}/config.schema.json"),
    *((f"usr/lib/systemd/system/{unit}", f"usr/lib/systemd/system/{unit}") for unit in UNITS),
    (f"usr/share/bash-completion/completions/{NAME}", f"usr/share/bash-completion/completions/{NAME}"),
    (f"usr/share/zsh/vendor-completions/_{NAME}", f"usr/share/zsh/site-functions/_{NAME}"),
    (f"usr/share/fish/vendor_completions.d/{NAME}.fish", f"usr/share/fish/vendor_completions.d/{NAME}.fish"),
]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def schema(config):
    """Where a configuration says that its schema is."""
    return re.fullmatch("#:schema (.+)", config.read_text().splitlines()[0])[1]


def one(folder, pattern):
    found = list(folder.glob(pattern))
    assert len(found) == 1, f"{pattern}: {[path.name for path in found] or 'no such file'}"
    return found[0]


def files_of(folder):
    """Every file and folder below, without what dpkg and rpm keep of themselves."""
    own = ("var/lib/dpkg", "var/lib/rpm", "var/log")
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {path for path in paths if not path.startswith(own) and path not in ("var", "var/lib")}


# --- What is in the folder -------------------------------------------------------------------------------------------


def check_checksums(release):
    (sums,) = release.glob("SHA256SUMS.*")
    run("sha256sum", "--check", "--strict", sums.name, cwd=release)
    listed = {line.split(maxsplit=1)[1] for line in sums.read_text().splitlines()}
    there = {path.name for path in release.iterdir() if path.is_file()} - {sums.name}
    assert listed == there, f"without a checksum, or not there: {listed ^ there}"


def sections(binary):
    """ELF: the names of the sections, with their bytes; and the kinds of the program headers."""
    data = binary.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", f"{binary} is no 64-bit ELF file"
    headers, table = struct.unpack_from("<QQ", data, 32)
    size, count, section_size, section_count, names = struct.unpack_from("<HHHHH", data, 54)
    kinds = [struct.unpack_from("<I", data, headers + number * size)[0] for number in range(count)]
    rows = [struct.unpack_from("<IIQQQQ", data, table + number * section_size) for number in range(section_count)]
    named = {}
    for name, _, _, _, offset, length in rows:
        start = rows[names][4] + name
        named[data[start : data.index(b"\0", start)].decode()] = data[offset : offset + length]
    return named, kinds


def crates_of_build():
    """(name, version) of every crate that is compiled for the binary's architecture, as cargo resolves the lock file."""
    host = re.search(r"host: (\S+)", run("rustc", "-vV"))[1]
    command = ["cargo", "tree", "--locked", "--edges=normal,build", f"--target={host}", "--prefix=none", "--format={p}"]
    lines = run(*command, cwd=ROOT).splitlines()
    return {(name, version.removeprefix("v")) for name, version in (line.split()[:2] for line in lines if line)}


def check_binary(binary):
    named, kinds = sections(binary)
    assert 3 not in kinds, f"{binary} asks for a program interpreter: it is not static"
    said = run(binary, "--version")
    assert VERSION in said, said
    revision = os.environ.get("GIT_REVISION") or run("git", "rev-parse", "HEAD", cwd=ROOT).strip()
    assert revision in said, f"--version does not name the revision {revision}: {said}"
    packages = json.loads(zlib.decompress(named[".dep-v0"]))["packages"]
    audited = {(package["name"], package["version"]) for package in packages}
    # Besides these there may be optional crates of crates, which the lock file has and no feature turns on.
    missing = crates_of_build() - audited
    assert not missing, f"compiled, and not named in the binary: {sorted(missing)}"
    return audited


def check_sbom(release, crates):
    bom = json.loads(one(release, "*.cdx.json").read_text())
    assert bom["bomFormat"] == "CycloneDX"
    described = bom["metadata"]["component"]
    assert (described["name"], described["version"]) == (NAME, VERSION), described
    named = {(part["name"], part["version"]) for part in bom["components"]} | {(NAME, VERSION)}
    assert named == crates, f"the SBOM and the binary name different crates: {sorted(named ^ crates)}"
    locked = {(p["name"], p["version"]): p for p in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    for part in bom["components"]:
        (checksum,) = [entry["content"] for entry in part["hashes"] if entry["alg"] == "SHA-256"]
        assert checksum == locked[part["name"], part["version"]]["checksum"], f"SBOM: another {part['name']}"
        assert part["purl"].startswith(f"pkg:cargo/{part['name']}@{part['version']}"), part["purl"]


def manual_pages(binary):
    """One for the program and one for each command that its help lists."""
    commands = run(binary, "--help").split("Commands:\n")[1].split("\n\n")[0]
    names = set(re.findall(r"^  (\w+)", commands, re.M)) - {"help"}
    assert {"inspect", "plan", "man"} <= names, names
    return {f"{NAME}.1"} | {f"{NAME}-{command}.1" for command in names}


def check_archive(release, scratch):
    path = one(release, f"{NAME}-{VERSION}-linux-*.tar.gz")
    folder = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
    run("tar", "--extract", "--file", path, "--directory", scratch)
    assert all(entry.name.split("/")[0] == folder for entry in entries), "not one folder"
    assert {(entry.uid, entry.gid) for entry in entries} == {(0, 0)}
    names = {entry.name.removeprefix(f"{folder}/") for entry in entries if entry.isfile()}
    expected = {NAME, "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "config.toml", "config.schema.json"}
    expected |= {f"systemd/{unit}" for unit in UNITS} | {"prometheus/rules.yml", "prometheus/RUNBOOK.md"}
    expected |= {f"grafana/{board}.json" for board in ("overview", "image", "cost", "running", "exporter")}
    expected |= {f"man/{page}" for page in manual_pages(scratch / folder / NAME)}
    expected |= {f"completions/{file}" for file in (NAME, f"_{NAME}", f"{NAME}.fish")}
    assert names == expected, f"in the archive, or missing: {sorted(names ^ expected)}"
    assert schema(scratch / folder / "config.toml") == "config.schema.json"
    return scratch / folder


def check_completions(folder):
    """Each shell completes the beginning of a command and of a flag."""
    bash = f"""
        source {folder}/{NAME}
        function=$(complete -p {NAME} | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
        ask() {{ COMP_WORDS=({NAME} "$1"); COMP_CWORD=1; $function {NAME} "$1" {NAME}; echo "${{COMPREPLY[@]}}"; }}
        ask pl; ask --config.f
    """
    assert run("bash", "-c", bash).split() == ["plan", "--config.file"]
    for asked, expected in (("pl", "plan"), ("--config.f", "--config.file"), ("--log.level=info insp", "inspect")):
        script = f"source {folder}/{NAME}.fish; complete --do-complete '{NAME} {asked}'"
        said = run("fish", "--no-config", "--command", script)
        assert said.split()[0].rstrip("=") == expected, said
    run("zsh", "-n", folder / f"_{NAME}")
    assert (folder / f"_{NAME}").read_text().startswith(f"#compdef {NAME}\n")


def check_manual(folder):
    for page in folder.iterdir():
        text = re.sub(r".\x08", "", run("mandoc", "-T", "ascii", "-W", "error,stop", page))
        assert f"{page.stem} - " in text, f"{page.name}: {text}"
    main = (folder / f"{NAME}.1").read_text().replace("\\", "")
    assert VERSION in main and "--config.file" in main and f"{NAME}-inspect(1)" in main


def check_chart(release, scratch):
    run("tar", "--extract", "--file", one(release, f"{NAME}-chart-{VERSION}.tgz"), "--directory", scratch)
    source = ROOT / "deploy/helm" / NAME
    assert files_of(scratch / NAME) == files_of(source), "the chart's archive is not the chart"


# --- Packages --------------------------------------------------------------------------------------------------------


def check_installed(root, paths):
    for path in paths:
        assert (root / path).is_file(), f"{path} is not installed"
    secrets = (root / f"etc/{NAME}/secrets").stat()
    assert secrets.st_mode & 0o7777 == 0o700 and secrets.st_uid == 0, "others may read secrets"
    assert (root / f"usr/bin/{NAME}").stat().st_mode & 0o7777 == 0o755
    enabled = [path for path in files_of(root) if path.endswith((".wants", ".wants/" + UNITS[0], ".wants/" + UNITS[1]))]
    assert not enabled, f"it is enabled before anybody has configured it: {enabled}"


def check_unit(root):
    """As systemd reads it where it is installed, with the program in its place."""
    (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Units of systemd itself, which ours refer to; and `kill`, for ExecReload.
        for path in ("usr/lib/systemd/system", "lib/systemd/system", "bin/kill", "usr/bin/kill"):
            there, here = root / path, pathlib.Path("/", path)
            if here.is_dir():
                there.mkdir(parents=True, exist_ok=True)
            for source in here.iterdir() if here.is_dir() else [here]:
                target = there / source.name if here.is_dir() else there
                if source.exists() and not target.exists() and (source.suffix in (".target", ".slice", ".mount") or source.name == "kill"):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)
                    stack.callback(target.unlink)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", f"--root={root}", *UNITS], capture_output=True, text=True
        )
        about = [line for line in done.stderr.splitlines() if NAME in line]
        assert not about, "\n".join(about)


def leave_behind(root):
    """What a running service would leave, and what an administrator writes."""
    for path in (f"var/lib/private/{NAME}/state.redb", f"etc/{NAME}/secrets/hub", f"etc/default/{NAME}"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    with (root / f"etc/{NAME}/config.toml").open("a") as config:
        config.write("# ours\n")


def check_debian(release, scratch, installed):
    package = one(release, f"{NAME}_{PACKAGED}-1_*.deb")
    fields = dict(
        line.split(": ", 1) for line in run("dpkg-deb", "--field", package).splitlines() if re.match(r"[A-Z]", line)
    )
    assert fields["Version"] == f"{PACKAGED}-1" and fields["Architecture"] == run("dpkg", "--print-architecture").strip()
    assert "Depends" not in fields or "libc" not in fields["Depends"], fields["Depends"]
    control = scratch / "control"
    run("dpkg-deb", "--control", package, control)
    assert (control / "conffiles").read_text().split() == [f"/etc/{NAME}/config.toml"]
    for script in ("postinst", "prerm", "postrm"):
        run("sh", "-n", control / script)

    root = scratch / "debian"
    admin = root / "var/lib/dpkg"
    for folder in ("info", "updates", "triggers"):
        (admin / folder).mkdir(parents=True)
    (admin / "status").touch()
    (admin / "available").touch()
    (root / "etc").mkdir()
    # As on every Debian since 12, and so either path of the units will do.
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    before = files_of(root)
    # Maintainer scripts run here and not in a chroot: they are told the folder, as they are when images are made.
    dpkg = ["dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends", "--force-confdef", "--force-confold"]

    def listed():
        lines = run(*dpkg, "--listfiles", NAME).splitlines()
        return {re.sub("^/lib/", "/usr/lib/", line) for line in lines if (root / line[1:]).is_file()}

    run(*dpkg, "--install", package)
    check_installed(root, [debian for debian, _ in installed])
    documents = {path for path in listed() if path.startswith(f"/usr/share/doc/{NAME}/")}
    expected = {f"/{debian}" for debian, _ in installed}
    assert listed() - documents == expected, sorted((listed() - documents) ^ expected)
    assert {pathlib.Path(path).name.removesuffix(".gz") for path in documents} >= {"copyright", "README.md"}, documents
    assert run(*dpkg, "--verify", NAME) == "", "an installed file is not the package's"
    check_unit(root)

    leave_behind(root)
    run(*dpkg, "--install", package)
    assert "# ours" in (root / f"etc/{NAME}/config.toml").read_text(), "an upgrade took the configuration away"
    run(*dpkg, "--remove", NAME)
    assert not (root / f"usr/bin/{NAME}").exists()
    for kept in (f"etc/{NAME}/config.toml", f"etc/{NAME}/secrets/hub", f"var/lib/private/{NAME}/state.redb"):
        assert (root / kept).exists(), f"removing the package, not purging it, took {kept} away"
    run(*dpkg, "--purge", NAME)
    # Folders that other packages of a machine have; dpkg leaves none that is empty otherwise.
    machine = {"etc/default", "etc/systemd", "etc/systemd/system", "var/lib/private"}
    rest = files_of(root) - before - machine
    assert not [path for path in rest if NAME in path or (root / path).is_file()], f"purged, and still there: {sorted(rest)}"


def check_rpm(release, scratch, installed):
    package = one(release, f"{NAME}-{PACKAGED}-1.*.rpm")
    root = scratch / "rpm"
    root.mkdir()
    rpm = ["rpm", f"--root={root}", "--dbpath=/var/lib/rpm", "--nodeps", "--noscripts"]
    run("rpm", "--checksig", "--nosignature", package)
    query = ["rpm", "--query", "--package", package]
    assert run(*query, "--queryformat=%{VERSION} %{LICENSE}") == f"{PACKAGED} MIT OR Apache-2.0"
    assert run(*query, "--configfiles").split() == [f"/etc/{NAME}/config.toml"]
    assert "(none)" not in run(*query, "--list")
    scripts = run(*query, "--scripts")
    for script in re.split(r"^\w+ scriptlet .*:$", scripts, flags=re.M)[1:]:
        run("sh", "-n", input=script)

    run(*rpm, "--install", package)
    check_installed(root, [other for _, other in installed])
    listed = {path for path in run(*query, "--list").split() if (root / path[1:]).is_file()}
    documents = {path for path in listed if path.startswith(f"/usr/share/doc/{NAME}/")}
    expected = {f"/{other}" for _, other in installed}
    assert listed - documents == expected, sorted((listed - documents) ^ expected)
    check_unit(root)
    run(*rpm, "--erase", NAME)
    rest = [path for path in files_of(root) if NAME in path]
    assert not rest, f"erased, and still there: {sorted(rest)}"


def main():
    if os.geteuid() != 0:
        sys.exit("installing packages into a folder needs root: their files belong to it")
    release = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        scratch = pathlib.Path(name)
        check_checksums(release)
        folder = check_archive(release, scratch)
        crates = check_binary(folder / NAME)
        check_sbom(release, crates)
        check_completions(folder / "completions")
        check_manual(folder / "man")
        check_chart(release, scratch)
        pages = [f"usr/share/man/man1/{page}.gz" for page in manual_pages(folder / NAME)]
        installed = INSTALLED + list(zip(pages, pages, strict=True))
        check_debian(release, scratch, installed)
        check_rpm(release, scratch, installed)
        print(f"{len(crates)} crates, the binary has {(folder / NAME).stat().st_size} bytes")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        raise SystemExit(f"release: {error}") if str(error) else error
