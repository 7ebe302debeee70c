#!/usr/bin/env python3
"""The JSON schema of the configuration, as an editor applies it: shipped files and the corpus' good ones pass, and
mistakes that an editor can see are refused, each where it stands. Exits 1 on a problem."""

import json
import pathlib
import tomllib

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/it/config"
SCHEMA = json.loads((ROOT / "deploy/config.schema.json").read_text())

# Bad files of the corpus whose mistake is a key, a type, a bound or a word, with the place of each one.
REFUSED = {
    "array-of-tables-misspelt": [""],
    "bool-as-text": ["registries/registry.example.com/plain_http"],
    "budget-unit": ["targets/0/budget"],
    "concurrency-text": ["scan/concurrency"],
    "concurrency-zero": ["scan/concurrency"],
    "detail-unknown": ["targets/0/detail"],
    "empty-targets": ["targets"],
    "inline-password": ["registries/registry.example.com"],
    "interval-months": ["scan/interval", "scan/keep", "scan/timeout", "targets/0/interval"],
    "interval-words": ["scan/interval"],
    "label-name": ["targets/0/labels"],
    "label-value": ["targets/0/labels/team"],
    "limit-fraction": ["targets/0/limit"],
    "limit-zero": ["targets/0/limit"],
    "newest-unknown": ["targets/0/newest"],
    "omit-near": ["metrics/omit"],
    "rate-zero": ["registries/registry.example.com/requests_per_second"],
    "repository-missing": ["targets/0"],
    "repository-wrong-type": ["targets/0/repository"],
    "sort-unknown": ["targets/0/sort"],
    "tag-as-fraction": ["targets/0/tags"],
    "targets-as-table": ["targets"],
    "uncompressed-unknown": ["targets/0/uncompressed"],
    "unknown-key-in-registry": ["registries/registry.example.com"],
    "unknown-key-in-target": ["targets/0"],
    "unknown-section": [""],
}


def problems(text):
    """The places that the schema refuses."""
    errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(tomllib.loads(text))
    return sorted({"/".join(map(str, error.absolute_path)) for error in errors})


def good():
    for path in ("config.toml", "deploy/compose/config.toml", "deploy/kubernetes/config.toml"):
        yield path, (ROOT / path).read_text()
    for path in ("values.yaml", "ci/full-values.yaml"):
        values = yaml.safe_load((ROOT / "deploy/helm/image-size-exporter" / path).read_text())
        yield path, values["config"]["content"]
    for path in sorted([*CORPUS.glob("good/*.toml"), *CORPUS.glob("odd/*.toml")]):
        yield path.name, path.read_text(encoding="utf-8-sig")


def main():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    for name, text in good():
        assert not problems(text), f"{name}: refused at {problems(text)}"
    for name, places in REFUSED.items():
        found = problems((CORPUS / f"bad/{name}.toml").read_text())
        assert found == places, f"{name}: refused at {found}, expected {places}"


if __name__ == "__main__":
    main()
