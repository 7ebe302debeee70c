#!/usr/bin/env python3
"""Boards: what can be said of the JSON without Grafana and without data. Exits 1 with one line for each problem."""

import importlib.util
import itertools
import json
import pathlib
import re
import sys

import contract

GRAFANA = pathlib.Path(__file__).resolve().parents[2] / "grafana"

UNITS = {"bytes", "s", "short", "none", "percentunit", "reqps", "dateTimeFromNow", "bool_yes_no"}


def unit_of(expr):
    """The unit that a query's values have, judged by its metric names and outer operation; None if it is a number
    without one."""
    bare = re.sub(r"\s+", " ", expr)
    if re.match(r"(1000 \* )", bare) and "_timestamp_seconds" in bare:
        return {"dateTimeFromNow"}
    # A condition on what is shown beside it does not change what is shown.
    shown = re.split(" and | unless ", bare)[0]
    names = contract.names_in(shown)
    if re.match(r"\w+( by \([^)]*\))? ?\(.*(> bool|== bool)", shown) or shown.startswith("count"):
        return {"short"}
    if any(name.endswith("_up") for name in names):
        return {"bool_yes_no", "short"}
    if any("_estimated" in name for name in names):
        return {"bool_yes_no"}
    if any("ratelimit" in name for name in names):
        return {"percentunit"} if " / " in shown else {"short"}
    if "histogram_quantile" in shown:
        return {"s"}
    if re.search(r" / ", shown):
        return {"percentunit", "none"}
    if "cpu_seconds_total" in shown:
        return {"percentunit"}
    if "rate(" in shown:
        return {"reqps"}
    # Bytes times nodes, or times the 1 of an info series.
    measured = {name for name in names if not name.startswith("container_image_running_")}
    if measured and all(name.endswith("_bytes") for name in measured):
        return {"bytes"}
    if all(name.endswith("_seconds") for name in names):
        return {"s"}
    return {"short", "none"}


def panels_of(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def units_of(panel):
    """(query, unit it is shown in); `None` where a column is hidden."""
    default = panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] != "table":
        return [(target["expr"], default) for target in panel["targets"]]
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    by_name = {
        override["matcher"]["options"]: prop["value"]
        for override in panel["fieldConfig"]["overrides"]
        for prop in override["properties"]
        if prop["id"] == "unit"
    }
    alone = len(panel["targets"]) == 1
    shown = []
    for target in panel["targets"]:
        field = "Value" if alone else f"Value #{target['refId']}"
        hidden = organize["excludeByName"].get(field, False)
        shown.append((target["expr"], None if hidden else by_name[organize["renameByName"][field]]))
    return shown


def check_board(name, board):
    assert board["id"] is None, "id must be null, or it would overwrite a stranger's board"
    assert re.fullmatch(r"image-size-[a-z]+", board["uid"]), "uid"
    assert board["schemaVersion"] == 39, "schemaVersion"
    assert "__inputs" not in board and "__requires" not in board, "__inputs are not resolved by provisioning"
    variables = board["templating"]["list"]
    assert variables[0]["name"] == "datasource" and variables[0]["type"] == "datasource", "datasource comes first"

    declared = [variable["name"] for variable in variables]
    builtin = {"__range", "__interval", "__interval_ms", "__rate_interval", "__data", "__url_time_range"}
    for index, variable in enumerate(variables):
        if variable["type"] != "query":
            continue
        used = set(re.findall(r"\$\{?(\w+)", variable["definition"]))
        assert used <= set(declared[:index]), f"variable {variable['name']} uses one that is not before it"
        assert variable["definition"] == variable["query"]["query"]
        series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
        yield from (f"variable {variable['name']}: {problem}" for problem in contract.problems_of(series))
        if variable["includeAll"] and ("allValue" in variable) != (variable["name"] not in ("job", "instance")):
            yield f"variable {variable['name']}: \"All\" must mean the exporter's own jobs and instances, and any of others"
        if label not in contract.FAMILIES[series.split("{")[0]]:
            yield f"variable {variable['name']}: {series} has no label {label}"
    if name == "image.json":
        chain = [variable for variable in declared if variable in ("registry", "repository", "tag", "platform")]
        assert chain == ["registry", "repository", "tag", "platform"], "the chain of variables"

    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)), "panel ids"
    titles = [panel["title"] for panel in panels_of(board)]
    assert len(titles) == len(set(titles)), "panel titles"

    for one, other in itertools.combinations(board["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = (
            a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        )
        if not apart:
            yield f"{one['title']!r} and {other['title']!r} overlap"
    for panel in panels_of(board):
        where = repr(panel["title"])
        grid = panel["gridPos"]
        if grid["x"] < 0 or grid["x"] + grid["w"] > 24:
            yield f"{where} leaves the grid"
        if len(panel.get("description", "")) < 10 or not panel["description"].endswith("."):
            yield f"{where} has no description"
        if panel["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"{where} has a data source of its own"
        for expr, unit in units_of(panel):
            if unit is not None and unit not in UNITS:
                yield f"{where}: unit {unit!r}"
            if unit is not None and unit not in unit_of(expr):
                yield f"{where}: shown as {unit!r}, but {expr} looks like {sorted(unit_of(expr))}"
            for problem in contract.problems_of(expr):
                yield f"{where}: {problem}"
            if unknown := set(re.findall(r"\$\{?(\w+)", expr)) - set(declared) - builtin:
                yield f"{where}: no variable {', '.join(sorted(unknown))}"
            if 'job=~"$job"' not in expr and "vector(" not in expr:
                yield f"{where}: a query does not choose a job"
            if "rate(" in expr and "[$__rate_interval]" not in expr:
                yield f"{where}: rates need $__rate_interval"
        if panel["type"] in ("table", "timeseries"):
            for expr, _ in units_of(panel):
                many = re.match(r"max by \((registry, )?(repository, )?(tag|registry, repository)\b", expr)
                if many and "topk($top" not in expr:
                    yield f"{where}: unreadable with ten thousand images, as nothing limits {expr}"


def main():
    spec = importlib.util.spec_from_file_location("boards", GRAFANA / "boards.py")
    boards = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(boards)

    problems, uids = [], set()
    assert sorted(path.name for path in GRAFANA.glob("*.json")) == sorted(boards.BOARDS), "boards without a source"
    for name, make in boards.BOARDS.items():
        text = (GRAFANA / name).read_text(encoding="utf-8")
        if text != boards.render(make):
            problems.append(f"{name}: not what grafana/boards.py writes: run it")
        board = json.loads(text)
        uids.add(board["uid"])
        problems += [f"{name}: {problem}" for problem in check_board(name, board)]
    assert len(uids) == len(boards.BOARDS), "uids are unique"
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
