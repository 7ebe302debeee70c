#!/usr/bin/env python3
"""What deny.toml says of dependencies, without network: licences, bans, sources. And that each is used.

`cargo deny` says the same and more where it is installed (tests/run calls it then), but takes minutes to build.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

root = pathlib.Path(__file__).resolve().parent.parent
rules = tomllib.loads((root / "deny.toml").read_text())
metadata = json.loads(
    subprocess.check_output(
        ["cargo", "metadata", "--locked", "--all-features", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"],
        cwd=root,
    )
)
problems = []


def allowed(expression: str) -> bool:
    """An SPDX expression, in which `/` is what old crates write for OR."""
    tokens = re.findall(r"[()]|[\w.+-]+", re.sub(r"(\S+) WITH (\S+)", r"\1+WITH+\2", expression.replace("/", " OR ")))
    good = {licence.replace(" WITH ", "+WITH+") for licence in rules["licenses"]["allow"]}
    words = {"(": "(", ")": ")", "AND": "and", "OR": "or"}
    return eval(" ".join(words.get(token) or str(token in good) for token in tokens))  # noqa: S307


resolved = {node["id"] for node in metadata["resolve"]["nodes"]}
banned = {ban["name"]: ban["reason"] for ban in rules["bans"]["deny"]}
for package in metadata["packages"]:
    if package["id"] not in resolved or package["source"] is None:
        continue
    name = f"{package['name']} {package['version']}"
    if not allowed(package["license"] or ""):
        problems.append(f"{name}: its licence, {package['license']}, is not among those that deny.toml allows")
    if package["name"] in banned:
        problems.append(f"{name}: banned: {banned[package['name']]}")
    if not package["source"].startswith("registry+https://github.com/rust-lang/crates.io-index"):
        problems.append(f"{name}: comes from {package['source']}")

# A dependency is used where its name stands in the code.
own = next(package for package in metadata["packages"] if package["source"] is None)
code = {None: ["src"], "dev": ["src", "tests", "benches", "examples"], "build": ["build.rs"]}
for dependency in own["dependencies"]:
    name = (dependency["rename"] or dependency["name"]).replace("-", "_")
    places = [root / place for place in code[dependency["kind"]]]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.rs"))]
    if not any(re.search(rf"\b{name}\b", file.read_text()) for file in files):
        problems.append(f"{dependency['name']}: nothing uses it")

print("\n".join(problems) or f"{len(resolved)} packages, nothing to say")
sys.exit(bool(problems))
