#!/usr/bin/env python3
"""Writes the five boards beside this file: overview.json, image.json, running.json, cost.json, exporter.json.

Change a board here and run `grafana/boards.py`; a test fails while the JSON is not what this writes. Positions are
computed, so panels cannot overlap; what all panels have in common is said once.

Queries aggregate with `max by` the image's own labels, so that two replicas of the exporter, or one that moved, show
as one. What is limited by `topk` in a graph is chosen once, at the range's end (`@ end()`): chosen anew at each step
it would draw a hundred lines instead of ten.
"""

import json
import pathlib

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
IMAGE = "registry, repository, tag, platform"
RELEASE = "registry, repository, target, platform"
REPOSITORY = "registry, repository"
GROUP = "registry, group"
TAG = "registry, repository, tag"


def up_in_each_shard(by, up):
    """As the rules have it: of replicas of one shard one is enough, and each shard has to be up."""
    ordinal = 'max by (job, instance) (image_size_exporter_shard_ordinal{job=~"$job"})'
    numbered = f'{up} * on (job, instance) group_left (shard_ordinal) count_values by (job, instance) ("shard_ordinal", {ordinal})'
    return f"min by ({by}) (max by ({by}, shard_ordinal) ({numbered} or {up}))"


# --- Variables -------------------------------------------------------------------------------------------------------


def datasource_variable():
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
    }


def query_variable(name, series, label=None, several=True):
    """A variable that offers the values of one label. `series` names the variables before it: the chain."""
    variable = {
        "name": name,
        "label": (label or name).capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "definition": f"label_values({series}, {name})",
        "query": {"query": f"label_values({series}, {name})", "refId": "StandardVariableQuery"},
        "current": {},
        "hide": 0,
        "includeAll": several,
        "multi": several,
        "options": [],
        # When the time range changes: what was deleted since can still be looked at.
        "refresh": 2,
        "regex": "",
        "sort": 7,
    }
    if several:
        if name not in ("job", "instance"):
            # Also what has an empty label: the platform of an artifact; and short with ten thousand values.
            variable["allValue"] = ".*"
        # Without it "All" is the list of all values. Jobs and instances need that: `up` and `process_*` of everything
        # else in this Prometheus would match as well.
        variable["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return variable


def top_variable():
    sizes = ["5", "10", "25", "100"]
    return {
        "name": "top",
        "label": "Show at most",
        "type": "custom",
        "query": ",".join(sizes),
        "current": {"selected": True, "text": "10", "value": "10"},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [{"selected": size == "10", "text": size, "value": size} for size in sizes],
    }


def price_variable():
    """A number that the reader writes, in a currency of their own."""
    return {
        "name": "price",
        "label": "Price of a GB for a month",
        "type": "textbox",
        "query": "0.10",
        "current": {"selected": True, "text": "0.10", "value": "0.10"},
        "hide": 0,
        "options": [{"selected": True, "text": "0.10", "value": "0.10"}],
    }


# --- Panels ----------------------------------------------------------------------------------------------------------


def target(index, expr, legend="", instant=False, table=False):
    return {
        "datasource": DATASOURCE,
        "refId": chr(ord("A") + index),
        "expr": expr,
        "legendFormat": legend or "__auto",
        "instant": instant,
        "range": not instant,
        "format": "table" if table else "time_series",
        "editorMode": "code",
    }


def panel(kind, title, description, width, height, targets, defaults, options, overrides=(), transformations=()):
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
    }
    if transformations:
        made["transformations"] = list(transformations)
    return made


def thresholds(*steps):
    first, *rest = steps
    return {
        "mode": "absolute",
        "steps": [{"color": first, "value": None}] + [{"color": color, "value": value} for value, color in rest],
    }


PLAIN = thresholds("text")


def stat(title, unit, expr, description, width=4, height=4, steps=PLAIN, decimals=None, mappings=(), legend="", none=""):
    """One number. With `legend`, the series' name stands instead of its value; `none` stands where there is none."""
    defaults = {"unit": unit, "thresholds": steps, "color": {"mode": "thresholds"}, "mappings": list(mappings)}
    if none:
        defaults["noValue"] = none
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "name" if legend else "value",
    }
    return panel("stat", title, description, width, height, [target(0, expr, legend, instant=True)], defaults, options)


def graph(title, unit, queries, description, width=12, height=9, fill=0, steps=False, bars=False, zero=True, dashed=()):
    """Lines over time. `queries` are (legend, expression); series whose name matches `dashed` are drawn as limits."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "stepAfter" if steps else "linear",
        "lineWidth": 2,
        "fillOpacity": 100 if bars else fill,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "none", "group": "A"},
    }
    defaults = {"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}}
    if zero:
        defaults["min"] = 0
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "calcs": ["lastNotNull"],
            "showLegend": True,
            "sortBy": "Last *",
            "sortDesc": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    overrides = [
        {
            "matcher": {"id": "byRegexp", "options": pattern},
            "properties": [
                {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}},
                {"id": "custom.lineWidth", "value": 1},
            ],
        }
        for pattern in dashed
    ]
    targets = [target(index, expr, legend) for index, (legend, expr) in enumerate(queries)]
    return panel("timeseries", title, description, width, height, targets, defaults, options, overrides)


LINK_IMAGE = {
    "title": "Show ${__data.fields.Repository}",
    "url": "/d/image-size-image?var-datasource=${datasource}&var-registry=${__data.fields.Registry}"
    "&var-repository=${__data.fields.Repository}&${__url_time_range}",
}


def table(title, columns, keys, description, width=12, height=9, sort=None, hide=(), link=False):
    """Instant queries side by side, one row for each set of labels.

    `columns` are (name, unit, expression); unit `None` is for an info series: its labels are columns, its value is
    hidden. `keys` are label → name, in the order in which they are shown.
    """
    alone = len(columns) == 1
    value = [("Value" if alone else f"Value #{chr(ord('A') + index)}") for index in range(len(columns))]
    names = dict(keys)
    order = list(keys)
    hidden = {"Time": True, **{label: True for label in hide}}
    overrides = []
    for field, (name, unit, _) in zip(value, columns):
        if unit is None:
            hidden[field] = True
            continue
        names[field] = name
        order.append(field)
        properties = [{"id": "unit", "value": unit}]
        if unit == "percentunit":
            properties += [
                {"id": "decimals", "value": 1},
                {"id": "min", "value": 0},
                {"id": "max", "value": 1},
                {"id": "custom.cellOptions", "value": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}},
            ]
        if unit == "bool_yes_no":
            properties.append({"id": "custom.width", "value": 90})
        overrides.append({"matcher": {"id": "byName", "options": name}, "properties": properties})
    if link:
        overrides.append(
            {
                "matcher": {"id": "byName", "options": "Repository"},
                "properties": [{"id": "links", "value": [LINK_IMAGE]}],
            }
        )
    defaults = {
        "unit": "short",
        "thresholds": thresholds("green", (0.8, "orange"), (1, "red")),
        "custom": {"align": "auto", "filterable": True, "inspect": False},
    }
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "fields": ""},
        "sortBy": [{"displayName": sort or columns[0][0], "desc": True}],
    }
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": hidden,
                "indexByName": {label: index for index, label in enumerate(order)},
                "renameByName": names,
            },
        },
    ]
    targets = [target(index, expr, instant=True, table=True) for index, (_, _, expr) in enumerate(columns)]
    return panel("table", title, description, width, height, targets, defaults, options, overrides, transformations)


def bars(title, unit, key, queries, description, width=12, height=9):
    """Stacked bars, one for each value of the label `key`."""
    names = {f"Value #{chr(ord('A') + index)}": name for index, (name, _) in enumerate(queries)}
    defaults = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {"fillOpacity": 80, "lineWidth": 0, "axisPlacement": "auto"},
    }
    options = {
        "xField": key,
        "orientation": "horizontal",
        "stacking": "normal",
        "showValue": "auto",
        "barWidth": 0.8,
        "groupWidth": 0.7,
        "xTickLabelMaxLength": 40,
        "xTickLabelRotation": 0,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": names}},
    ]
    targets = [target(index, expr, instant=True, table=True) for index, (_, expr) in enumerate(queries)]
    return panel(
        "barchart", title, description, width, height, targets, defaults, options, transformations=transformations
    )


# --- Boards ----------------------------------------------------------------------------------------------------------


def place(rows):
    """Rows of panels, from left to right and then down, under a heading each."""
    panels, top = [], 0
    for heading, members in rows:
        panels.append(
            {"type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
        )
        top += 1
        left = line = 0
        for member in members:
            size = member["gridPos"]
            if left + size["w"] > 24:
                left, top, line = 0, top + line, 0
            member["gridPos"] = {"x": left, "y": top, "w": size["w"], "h": size["h"]}
            left, line = left + size["w"], max(line, size["h"])
            panels.append(member)
        top += line
    for number, member in enumerate(panels, start=1):
        member["id"] = number
    return panels


def board(uid, title, description, variables, rows, since, annotations=()):
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["image-size-exporter"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "",
        "refresh": "5m",
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "weekStart": "",
        "links": [
            {
                "type": "dashboards",
                "title": "Image size",
                "tags": ["image-size-exporter"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "annotations": {"list": list(annotations)},
        "templating": {"list": variables},
        "panels": place(rows),
    }


def most(expr):
    return f"topk($top, {expr})"


def lines_of_most(expr_at):
    """The lines of the largest ones at the range's end. `expr_at` makes the expression, given a modifier."""
    return f"{expr_at('')} and {most(expr_at(' @ end()'))}"


def overview():
    mine = 'job=~"$job", registry=~"$registry", repository=~"$repository"'
    some = mine + ', platform=~"$platform"'

    def images(family, at=""):
        return f"max by ({IMAGE}) (container_image_{family}{{{some}}}{at})"

    def repositories(family, at=""):
        return f"max by ({REPOSITORY}) (container_image_repository_{family}{{{mine}}}{at})"

    def releases(family, at=""):
        return f"max by ({RELEASE}) (container_image_newest_{family}{{{some}}}{at})"

    def release_tags(family, at=""):
        return f"max by ({RELEASE}, tag) (container_image_newest_{family}{{{some}}}{at})"

    def under(name, expr):
        """The same, with the tag in a label of another name, so that it gets a column of its own."""
        return f'max by ({RELEASE}, {name}) (label_join({expr}, "{name}", "", "tag"))'

    compressed, proportional = images("compressed_size_bytes"), images("proportional_size_bytes")
    budget = f"min by ({IMAGE}) (container_image_size_budget_bytes{{{some}}})"
    before = f"max by ({IMAGE}) (last_over_time(container_image_compressed_size_bytes{{{some}}}[1h] offset $__range))"
    stored = repositories("stored_size_bytes")
    newest, previous = releases("compressed_size_bytes"), releases("previous_compressed_size_bytes")
    by_growth = most(f"{newest} - ({previous} or {newest})")
    update = releases("update_size_bytes")
    # The series of the newest release lives on from release to release: its growth is that of what is new.
    newest_before = f"max by ({RELEASE}) (last_over_time(container_image_newest_compressed_size_bytes{{{some}}}[1h] offset $__range))"
    grown_releases = most(f"{newest} - {newest_before} > 0")
    by_budget = most(f"{compressed} / {budget}")
    by_size = most(compressed)
    grown = most(f"{compressed} - {before} > 0")
    unreadable = f'max by ({TAG}) (container_image_tag_up{{{mine}}}) == 0'
    last_success = f"max by ({TAG}) (container_image_tag_last_success_timestamp_seconds{{{mine}}})"

    in_repository = {"registry": "Registry", "repository": "Repository"}
    in_image = {**in_repository, "tag": "Tag", "platform": "Platform"}

    def beside(keys, expr, chosen):
        return f"{expr} and on ({keys}) {chosen}"

    variables = [
        datasource_variable(),
        query_variable("job", "image_size_exporter_build_info"),
        query_variable("registry", 'container_image_repository_tags{job=~"$job"}'),
        query_variable("repository", 'container_image_repository_tags{job=~"$job", registry=~"$registry"}'),
        query_variable("platform", f"container_image_compressed_size_bytes{{{mine}}}"),
        top_variable(),
    ]
    glance = [
        stat(
            "Stored",
            "bytes",
            'sum(max by (registry) (container_image_registry_stored_size_bytes{job=~"$job", registry=~"$registry"}))',
            "Bytes of the distinct layers of all watched images: what the chosen registries must keep for them. A "
            "layer that many images share counts once in each registry. Choosing repositories does not change it.",
        ),
        stat(
            "Saved by sharing",
            "bytes",
            f"sum({compressed}) - sum({proportional})",
            "What the registries would need in addition if the chosen images shared no layers: the sum of their "
            "compressed sizes less their fair share of what is stored.",
        ),
        stat(
            "Saved, of all",
            "percentunit",
            f"1 - sum({proportional}) / sum({compressed})",
            "The saved bytes as a part of the sum of the compressed sizes.",
            decimals=1,
        ),
        stat("Images", "short", f"count({compressed})", "Images watched: one for each tag and platform.", decimals=0),
        stat(
            "Over budget",
            "short",
            f"sum({compressed} > bool {budget}) or vector(0)",
            "Images whose compressed size is above their configured budget.",
            steps=thresholds("green", (1, "red")),
            decimals=0,
        ),
        stat(
            "Unreadable tags",
            "short",
            f"sum({unreadable.replace('== 0', '== bool 0')}) or vector(0)",
            "Tags whose last reading did not read all that it meant to.",
            steps=thresholds("green", (1, "orange")),
            decimals=0,
        ),
    ]
    storage = [
        graph(
            "Stored by registry",
            "bytes",
            [("{{registry}}", 'max by (registry) (container_image_registry_stored_size_bytes{job=~"$job", registry=~"$registry"})')],
            "Bytes of the distinct layers of all watched images of a registry.",
            width=8,
        ),
        graph(
            "Stored by repository, the largest",
            "bytes",
            [("{{registry}}/{{repository}}", lines_of_most(lambda at: repositories("stored_size_bytes", at)))],
            "Bytes of the distinct layers of a repository's watched images. Layers that two repositories share count "
            "in both, so these must not be summed.",
            width=8,
        ),
        graph(
            "What sharing saves",
            "bytes",
            [("compressed sizes, summed", f"sum({compressed})"), ("stored, fair share", f"sum({proportional})")],
            "Above: the sum of what pulling each chosen image alone would transfer. Below: their fair share of what "
            "the registry stores. What lies between is saved by sharing layers.",
            width=8,
            fill=20,
        ),
        table(
            "Repositories, the largest",
            [
                ("Stored", "bytes", most(stored)),
                ("In no other", "bytes", beside(REPOSITORY, repositories("unique_size_bytes"), most(stored))),
                ("Metadata", "bytes", beside(REPOSITORY, repositories("metadata_size_bytes"), most(stored))),
                ("Tags", "short", beside(REPOSITORY, repositories("tags"), most(stored))),
                ("Never read", "short", beside(REPOSITORY, repositories("tags_unknown"), most(stored))),
            ],
            in_repository,
            "Stored: distinct layers. In no other: layers that no other watched repository of the registry has. "
            "Metadata: distinct configs and manifests. Tags: selected ones, and how many of these were never read.",
            width=24,
            link=True,
        ),
    ]
    sizes = [
        table(
            "Biggest images",
            [
                ("Compressed", "bytes", by_size),
                ("Unique", "bytes", beside(IMAGE, images("unique_size_bytes"), by_size)),
                ("Proportional", "bytes", beside(IMAGE, proportional, by_size)),
            ],
            in_image,
            "Compressed: what a pull transfers. Unique: layers that no other watched image of the registry has. "
            "Proportional: each layer's bytes divided among all that have it.",
            link=True,
        ),
        table(
            "Tags that grew",
            [
                ("Growth", "bytes", grown),
                ("Times as big", "none", beside(IMAGE, f"{compressed} / {before}", grown)),
                ("Compressed", "bytes", beside(IMAGE, compressed, grown)),
            ],
            in_image,
            "Growth of the compressed size of tags that were pushed again in the chosen time range. A release is a new "
            "tag, and not here: see the releases that grew.",
            link=True,
        ),
        graph(
            "Biggest images over time",
            "bytes",
            [
                (
                    "{{registry}}/{{repository}}:{{tag}} {{platform}}",
                    lines_of_most(lambda at: images("compressed_size_bytes", at)),
                )
            ],
            "Compressed sizes of the images that are the biggest ones at the end of the time range.",
        ),
        graph(
            "How big images are",
            "bytes",
            [
                ("biggest", f"max({compressed})"),
                ("nine in ten are below", f"quantile(0.9, {compressed})"),
                ("half are below", f"quantile(0.5, {compressed})"),
            ],
            "The distribution of all chosen images' compressed sizes, however many there are.",
        ),
    ]
    releases_and_budgets = [
        table(
            "Releases that grew",
            [
                ("Growth", "bytes", grown_releases),
                ("Times as big", "none", beside(RELEASE, f"{newest} / {newest_before}", grown_releases)),
                ("Now", "bytes", beside(RELEASE, newest, grown_releases)),
                ("Tag", None, beside(RELEASE, release_tags("info"), grown_releases)),
                (
                    "Then",
                    None,
                    beside(RELEASE, under("then", release_tags("info", " offset $__range")), grown_releases),
                ),
            ],
            {**in_repository, "target": "Target", "then": "Release then", "tag": "Release now", "platform": "Platform"},
            "The newest release now against the newest at the start of the chosen time range, compressed, for each "
            "target with `newest`: how much bigger a deployment became, however many releases came between.",
            width=24,
            height=7,
            link=True,
        ),
        table(
            "Newest releases, by growth",
            [
                ("Growth", "bytes", by_growth),
                ("Newest", "bytes", beside(RELEASE, newest, by_growth)),
                ("Before", "bytes", beside(RELEASE, previous, by_growth)),
                ("Update", "bytes", beside(RELEASE, update, by_growth)),
                ("Tag", None, beside(RELEASE, release_tags("info"), by_growth)),
                ("Tag before", None, beside(RELEASE, under("before", release_tags("previous_info")), by_growth)),
            ],
            {**in_repository, "target": "Target", "before": "Release before", "tag": "Release", "platform": "Platform"},
            "The newest release of each target that asks for it, against the release before it, compressed. Update: layers "
            "that the release before lacks, which each node that has it fetches.",
            width=24,
            height=7,
            link=True,
        ),
        graph(
            "Newest releases over time",
            "bytes",
            [
                (
                    "{{registry}}/{{repository}} {{platform}} ({{target}})",
                    lines_of_most(lambda at: releases("compressed_size_bytes", at)),
                )
            ],
            "Compressed sizes of the newest releases, the biggest ones: a step is a new release.",
            steps=True,
        ),
        graph(
            "Updates over time, the biggest",
            "bytes",
            [
                (
                    "{{registry}}/{{repository}} {{platform}} ({{target}})",
                    lines_of_most(lambda at: releases("update_size_bytes", at)),
                )
            ],
            "Layers of the newest release that the release before lacks: what each node that has that one fetches.",
            steps=True,
        ),
        table(
            "Budgets, the fullest",
            [
                ("Used", "percentunit", by_budget),
                ("Compressed", "bytes", beside(IMAGE, compressed, by_budget)),
                ("Budget", "bytes", beside(IMAGE, budget, by_budget)),
            ],
            in_image,
            "Compressed size against the configured budget.",
            width=24,
            height=7,
            link=True,
        ),
    ]
    on_registry = 'job=~"$job", registry=~"$registry"'
    of_policy = f"{REPOSITORY}, policy"
    freed_alone = f"max by ({of_policy}) (container_image_repository_reclaimable_size_bytes{{{mine}}})"
    freed = f"max by (registry, policy) (container_image_registry_reclaimable_size_bytes{{{on_registry}}})"
    retention = [
        table(
            "Repositories, by what deleting their tags would free",
            [
                ("Freed alone", "bytes", most(freed_alone)),
                (
                    "Tags",
                    "short",
                    beside(
                        of_policy,
                        f"max by ({of_policy}) (container_image_repository_reclaimable_tags{{{mine}}})",
                        most(freed_alone),
                    ),
                ),
            ],
            {**in_repository, "policy": "Policy"},
            "Freed alone: bytes that nothing else watched on the registry has, if only this repository's tags that the "
            "policy does not keep are deleted. Tags: how many these are. `image-size-exporter retain` names them.",
            link=True,
        ),
        graph(
            "Reclaimable part of what is stored",
            "percentunit",
            [
                (
                    "{{registry}} {{policy}}",
                    f"{freed} / on (registry) group_left () max by (registry) "
                    f"(container_image_registry_stored_size_bytes{{{on_registry}}})",
                )
            ],
            "What a registry would free if all tags that the policy does not keep were deleted, as a part of what it "
            "stores. Absent while anything on the registry is unread.",
        ),
    ]
    up = 'image_size_exporter_target_up{job=~"$job"}'
    unread = [
        table(
            "Tags that cannot be read",
            [
                ("Readable", "bool_yes_no", most(unreadable)),
                ("Last read", "dateTimeFromNow", beside(TAG, f"1000 * {last_success}", most(unreadable))),
            ],
            {**in_repository, "tag": "Tag"},
            "Tags whose last reading failed, wholly or in part. Their sizes are the last ones known; without a time "
            "they were never read.",
            link=True,
        ),
        table(
            "Incomplete targets",
            [("Complete", "bool_yes_no", f"{up_in_each_shard('target', up)} == 0")],
            {"target": "Target"},
            "Targets whose last scan did not read all that it meant to.",
            width=4,
        ),
        graph(
            "Failed requests by reason",
            "reqps",
            [
                (
                    "{{registry}} {{reason}}",
                    "sum by (registry, reason) (rate(image_size_exporter_registry_request_failures_total"
                    '{job=~"$job", registry=~"$registry"}[$__rate_interval])) > 0',
                )
            ],
            "Requests to registries that failed, each second.",
            width=8,
        ),
    ]
    return board(
        "image-size-overview",
        "Image size / Overview",
        "Container images in the watched registries: what they cost to store and to pull, what grows, what cannot be read.",
        variables,
        [
            ("At a glance", glance),
            ("Releases and budgets", releases_and_budgets),
            ("Storage", storage),
            ("Images", sizes),
            ("What policies do not keep", retention),
            ("What cannot be read", unread),
        ],
        "now-7d",
    )


def image():
    here = 'job=~"$job", registry="$registry", repository="$repository"'
    tags = here + ', tag=~"$tag"'
    some = tags + ', platform=~"$platform"'

    def images(family, at=""):
        return f"max by (tag, platform) (container_image_{family}{{{some}}}{at})"

    def by_tag(family):
        return f"max by (tag) (container_image_tag_{family}{{{tags}}})"

    def repository(family):
        return f"max(container_image_repository_{family}{{{here}}})"

    def releases(family):
        return f'max by (target, platform) (container_image_newest_{family}{{{here}, platform=~"$platform"}})'

    def pushed(at):
        return f"max by (tag) (container_image_tag_changed_timestamp_seconds{{{tags}}}{at})"

    compressed = images("compressed_size_bytes")
    chosen = most(compressed)
    named = 'label_join({}, "image", " ", "tag", "platform")'
    unique = f"({images('unique_size_bytes')} and {chosen})"
    shared = f"({compressed} - {images('unique_size_bytes')} and {chosen})"
    # A push is one step at which the time of the last change is later than it was a step before. Six hours before that
    # are looked at, so that a change is not shown again when scrapes resume; what is older than these, and has nothing
    # to compare with, was there before.
    pushed_before = (
        f"max by (tag) (last_over_time(container_image_tag_changed_timestamp_seconds{{{tags}}}[6h] offset $__interval))"
        f" or {pushed('')} <= time() - 6 * 3600 - $__interval_ms / 1000 or 0 * {pushed('')}"
    )
    # Tags have no natural order of interest but one: what was pushed last. Where no push was seen, the others follow.
    chosen_tags = most(f"{by_tag('changed_timestamp_seconds')} or 0 * {by_tag('up')}")

    def beside(expr):
        return f"{expr} and on (tag, platform) {chosen}"

    def beside_tag(expr):
        return f"{expr} and on (tag) {chosen_tags}"

    variables = [
        datasource_variable(),
        query_variable("job", "image_size_exporter_build_info"),
        query_variable("registry", 'container_image_repository_tags{job=~"$job"}', several=False),
        query_variable(
            "repository", 'container_image_repository_tags{job=~"$job", registry="$registry"}', several=False
        ),
        query_variable("tag", f"container_image_tag_up{{{here}}}"),
        query_variable("platform", f"container_image_compressed_size_bytes{{{tags}}}"),
        top_variable(),
    ]
    glance = [
        stat(
            "Stored",
            "bytes",
            repository("stored_size_bytes"),
            "Bytes of the distinct layers of this repository's watched images. Choosing tags does not change it.",
        ),
        stat(
            "In no other repository",
            "bytes",
            repository("unique_size_bytes"),
            "Layers that no other watched repository of the registry has: what deleting this one would free.",
        ),
        stat(
            "Metadata", "bytes", repository("metadata_size_bytes"), "Distinct configs and manifests of this repository."
        ),
        stat("Tags", "short", repository("tags"), "Tags that the targets select.", decimals=0),
        stat(
            "Never read",
            "short",
            repository("tags_unknown"),
            "Selected tags that were never read. They are in none of the sums.",
            steps=thresholds("green", (1, "orange")),
            decimals=0,
        ),
        stat("Biggest image", "bytes", f"max({compressed})", "Compressed size of the biggest chosen image."),
    ]
    over_time = [
        graph(
            "Compressed size",
            "bytes",
            [("{{tag}} {{platform}}", lines_of_most(lambda at: images("compressed_size_bytes", at)))],
            "What a pull of each chosen tag and platform transfers: the sum of its layers. Marks are pushes.",
            width=24,
            steps=True,
        ),
        graph(
            "Newest release against the one before, and budget",
            "bytes",
            [
                ("newest {{platform}} ({{target}})", releases("compressed_size_bytes")),
                ("before {{platform}} ({{target}})", releases("previous_compressed_size_bytes")),
                ("budget {{platform}}", f'min by (platform) (container_image_size_budget_bytes{{{some}}})'),
            ],
            "One line that lives on from release to release, for targets with `newest`, and the smallest budget of the "
            "chosen tags.",
            steps=True,
            dashed=["^before ", "^budget "],
        ),
        graph(
            "What a node fetches for the newest release",
            "bytes",
            [
                ("all {{platform}} ({{target}})", releases("compressed_size_bytes")),
                ("update {{platform}} ({{target}})", releases("update_size_bytes")),
            ],
            "All: a node that has no layer of it. Update: one that has the release before.",
            steps=True,
        ),
        bars(
            "Unique and shared, the biggest",
            "bytes",
            "image",
            [
                ("Unique", f"sum by (image) ({named.format(unique)})"),
                ("Shared", f"sum by (image) ({named.format(shared)})"),
            ],
            "Unique: layers that no other watched image of the registry has; deleting the image would free them. "
            "Shared: the rest of its compressed size.",
        ),
        graph(
            "The repository's storage",
            "bytes",
            [
                ("stored", repository("stored_size_bytes")),
                ("in no other repository", repository("unique_size_bytes")),
                ("fair share", f"sum(max by (tag, platform) (container_image_proportional_size_bytes{{{here}}}))"),
            ],
            "Stored: distinct layers of all watched tags. In no other repository: the part of it that nobody else "
            "needs. Fair share: each layer's bytes divided among all images of the registry that have it.",
            fill=10,
        ),
    ]
    layers = [
        graph(
            "Layers",
            "short",
            [
                (
                    "{{tag}} {{platform}}",
                    f"{images('layers')} and on (tag, platform) {most(images('compressed_size_bytes', ' @ end()'))}",
                )
            ],
            "Number of layers of the biggest chosen images.",
            steps=True,
        ),
        graph(
            "Pushes",
            "short",
            [
                (
                    "{{tag}}",
                    f"{pushed('')} > bool ({pushed_before}) and {most(pushed(' @ end()'))}",
                )
            ],
            "When the exporter saw tags point at another digest, for the tags that were pushed last: one bar for each "
            "push, in the step in which Prometheus learnt of it.",
            bars=True,
        ),
        table(
            "Tags, last pushed first",
            [
                ("Pushed", "dateTimeFromNow", beside_tag(f"1000 * {by_tag('changed_timestamp_seconds')}")),
                ("Stored", "bytes", beside_tag(by_tag("stored_size_bytes"))),
                ("Readable", "bool_yes_no", beside_tag(by_tag("up"))),
                ("Last read", "dateTimeFromNow", beside_tag(f"1000 * {by_tag('last_success_timestamp_seconds')}")),
                ("Attestations", "short", beside_tag(by_tag("attestations"))),
                ("Digest", None, beside_tag(f"max by (tag, digest, media_type) (container_image_tag_info{{{tags}}})")),
            ],
            {"tag": "Tag", "digest": "Digest", "media_type": "Media type"},
            "Pushed: when the exporter saw the digest change; empty until it did. Stored: distinct layers of all "
            "selected platforms. Digest: what the tag points at, as `docker pull` shows it.",
            width=24,
        ),
        table(
            "Images, the biggest",
            [
                ("Compressed", "bytes", chosen),
                ("Unique", "bytes", beside(images("unique_size_bytes"))),
                ("Proportional", "bytes", beside(images("proportional_size_bytes"))),
                ("Uncompressed", "bytes", beside(images("uncompressed_size_bytes"))),
                ("Estimated", "bool_yes_no", beside(images("uncompressed_size_estimated"))),
                ("Unpacked", "bytes", beside(images("unpacked_size_bytes"))),
                ("Layers", "short", beside(images("layers"))),
                ("Created", "dateTimeFromNow", beside(f"1000 * {images('created_timestamp_seconds')}")),
                (
                    "Image ID",
                    None,
                    beside(f"max by (tag, platform, image_id) (container_image_info{{{some}}})"),
                ),
            ],
            {"tag": "Tag", "platform": "Platform", "image_id": "Image ID"},
            "Everything known about each image. Uncompressed and unpacked stand where the configuration asks for "
            "them. Created is what the build wrote into the image.",
            width=24,
        ),
    ]
    pushes = {
        "name": "Pushes",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": f"1000 * max by (tag) (container_image_tag_changed_timestamp_seconds{{{tags}}})",
        "useValueForTime": True,
        "step": "60s",
        "titleFormat": "Pushed",
        "textFormat": "{{tag}}",
        "tagKeys": "",
    }
    return board(
        "image-size-image",
        "Image size / Image",
        "One repository: its tags and platforms over time, what they share, their layers, releases and pushes.",
        variables,
        [("Repository", glance), ("Sizes", over_time), ("Tags, layers and pushes", layers)],
        "now-7d",
        [pushes],
    )


def cost():
    mine = 'job=~"$job", registry=~"$registry"'

    def registries(family):
        return f"sum(max by (registry) (container_image_registry_{family}{{{mine}}}))"

    def groups(family, at=""):
        return f'max by ({GROUP}) (container_image_group_{family}{{{mine}, group=~"$group"}}{at})'

    def repositories(family, at=""):
        return f"max by ({REPOSITORY}) (container_image_repository_{family}{{{mine}}}{at})"

    def cost_of(expr):
        return f"$price / 1e9 * {expr}"

    every_group = f"max by ({GROUP}) (container_image_group_proportional_size_bytes{{{mine}}})"
    # Where a registry's sum is withheld, nothing can be subtracted from it.
    whole = f"sum({every_group} and on (registry) container_image_registry_stored_size_bytes{{{mine}}})"
    largest_groups = most(groups("proportional_size_bytes"))
    largest = most(repositories("proportional_size_bytes"))
    own, stored = groups("unique_size_bytes"), groups("stored_size_bytes")
    by_name = 'label_join({}, "of", " ", "group", "registry")'

    def beside(keys, expr, chosen):
        return f"{expr} and on ({keys}) {chosen}"

    variables = [
        datasource_variable(),
        query_variable("job", "image_size_exporter_build_info"),
        query_variable("registry", 'container_image_repository_tags{job=~"$job"}'),
        query_variable("group", f"container_image_group_stored_size_bytes{{{mine}}}"),
        price_variable(),
        top_variable(),
    ]
    glance = [
        stat(
            "Stored",
            "bytes",
            registries("stored_size_bytes"),
            "Bytes of the distinct layers of all watched images in the chosen registries.",
            width=6,
        ),
        stat(
            "Cost a month",
            "none",
            cost_of(registries("stored_size_bytes")),
            "What is stored at the price that is written above, in its currency. A GB is 1,000,000,000 bytes. Write the price "
            "with a dot.",
            width=6,
            decimals=2,
        ),
        stat(
            "Cost of groups",
            "none",
            f"{cost_of(f'sum({every_group})')} or vector(0)",
            "The fair share of all groups in it, whichever are chosen.",
            width=6,
            decimals=2,
        ),
        stat(
            "Cost of no group",
            "none",
            cost_of(f"({registries('stored_size_bytes')} - ({whole} or vector(0)))"),
            "The rest: images that are in no group. Without registries whose sum is withheld since a tag list is read in part.",
            width=6,
            decimals=2,
        ),
    ]
    of_groups = [
        table(
            "Groups, the most expensive",
            [
                ("Cost a month", "none", cost_of(largest_groups)),
                ("Fair share", "bytes", largest_groups),
                ("Stored", "bytes", beside(GROUP, stored, largest_groups)),
                ("In no other", "bytes", beside(GROUP, own, largest_groups)),
                ("Saved by deleting it, a month", "none", beside(GROUP, cost_of(own), largest_groups)),
            ],
            {"group": "Group", "registry": "Registry"},
            "Fair share: each layer's bytes divided among all images that have it; over all groups and the images in none "
            "this gives what is stored. Stored: distinct layers. In no other: layers that no image outside the group has, "
            "which deleting it would free.",
            width=24,
        ),
        graph(
            "Cost of groups over time, the most expensive",
            "none",
            [
                (
                    "{{group}} {{registry}}",
                    f"{cost_of(groups('proportional_size_bytes'))} and {most(groups('proportional_size_bytes', ' @ end()'))}",
                )
            ],
            "What the groups' fair shares cost in a month, at the price that is written above.",
        ),
        bars(
            "Own and shared, the largest groups",
            "bytes",
            "of",
            [
                ("Own", f"sum by (of) ({by_name.format(f'({own} and {most(stored)})')})"),
                ("Shared", f"sum by (of) ({by_name.format(f'({stored} - {own} and {most(stored)})')})"),
            ],
            "Own: layers that no image outside the group has. Shared: the rest of what is stored for it, such as a base.",
        ),
    ]
    of_repositories = [
        table(
            "Repositories, the most expensive",
            [
                ("Cost a month", "none", cost_of(largest)),
                ("Fair share", "bytes", largest),
                ("Stored", "bytes", beside(REPOSITORY, repositories("stored_size_bytes"), largest)),
                ("In no other", "bytes", beside(REPOSITORY, repositories("unique_size_bytes"), largest)),
                ("Saved by deleting it, a month", "none", beside(REPOSITORY, cost_of(repositories("unique_size_bytes")), largest)),
            ],
            {"registry": "Registry", "repository": "Repository"},
            "As of groups. Choosing groups does not change it: a repository may have tags of several.",
            width=24,
            link=True,
        ),
        graph(
            "Cost of repositories over time, the most expensive",
            "none",
            [
                (
                    "{{registry}}/{{repository}}",
                    f"{cost_of(repositories('proportional_size_bytes'))} and "
                    f"{most(repositories('proportional_size_bytes', ' @ end()'))}",
                )
            ],
            "What the repositories' fair shares cost in a month, at the price that is written above.",
            width=24,
        ),
    ]
    return board(
        "image-size-cost",
        "Image size / Cost",
        "What storing the watched images costs a month, by group and by repository, at a price that the reader writes.",
        variables,
        [("All", glance), ("Groups", of_groups), ("Repositories", of_repositories)],
        "now-30d",
    )


def running():
    mine = 'job=~"$job", registry=~"$registry", repository=~"$repository"'
    seen = 'job=~"$job", source=~"$source", registry=~"$registry", repository=~"$repository"'
    where = seen + ', namespace=~"$namespace"'

    def runs(family, at=""):
        """Of all chosen sources together. Two exporters that watch the same source say the same."""
        each = f"max by (source, {TAG}) (container_image_running_{family}{{{seen}}}{at})"
        return f"sum by ({TAG}) ({each})"

    def sizes(at=""):
        """Of the platform with the biggest image: which ones the nodes have is not known here."""
        return f'max by ({TAG}) (container_image_compressed_size_bytes{{{mine}, platform=~"$platform"}}{at})'

    def on_all_nodes(at=""):
        return f"{sizes(at)} * on ({TAG}) {runs('nodes', at)}"

    def used(by, at=""):
        """Which images run where: 1 for each."""
        return f"max by ({by}, {TAG}) (container_image_running_info{{{where}}}{at})"

    def different(at=""):
        return f"count by (source, namespace) ({used('source, namespace', at)})"

    def sizes_by(by):
        return f"{used(by)} * on ({TAG}) group_left () {sizes()}"

    def beside(expr, chosen, on=TAG):
        return f"{expr} and on ({on}) {chosen}"

    containers = runs("containers")
    that_run = f"{sizes()} and on ({TAG}) {containers}"
    budget = f'min by ({TAG}) (container_image_size_budget_bytes{{{mine}, platform=~"$platform"}})'
    biggest = most(that_run)
    outdated = most(f"{runs('outdated_containers')} > 0")
    over_budget = most(f"{sizes()} / {budget} > 1 and on ({TAG}) {containers}")
    idle = most(f"max by ({TAG}) (container_image_tag_stored_size_bytes{{{mine}}}) unless on ({TAG}) {containers}")
    workload = "source, namespace, workload_kind, workload, container"
    by_namespace = f"max by (source, namespace) ({sizes_by('source, namespace')})"
    in_tag = {"registry": "Registry", "repository": "Repository", "tag": "Tag"}
    variables = [
        datasource_variable(),
        query_variable("job", "image_size_exporter_build_info"),
        query_variable("source", 'image_size_exporter_source_up{job=~"$job"}'),
        query_variable("namespace", 'container_image_running_info{job=~"$job", source=~"$source"}'),
        query_variable("registry", 'container_image_running_containers{job=~"$job", source=~"$source"}'),
        query_variable(
            "repository", 'container_image_running_containers{job=~"$job", source=~"$source", registry=~"$registry"}'
        ),
        query_variable("platform", f"container_image_compressed_size_bytes{{{mine}}}"),
        top_variable(),
    ]
    up = 'image_size_exporter_source_up{job=~"$job", source=~"$source"}'
    glance = [
        stat(
            "Sources down",
            "short",
            f"sum({up_in_each_shard('source', up)} == bool 0)",
            "Sources that cannot be read now. What they said last is still shown.",
            steps=thresholds("green", (1, "red")),
            decimals=0,
        ),
        stat("Containers", "short", f"sum({containers})", "Containers that run, or will once their image is there.", decimals=0),
        stat("Running images", "short", f"count({containers})", "Different images among them, each tag or digest once.", decimals=0),
        stat(
            "Pulled by all nodes",
            "bytes",
            f"sum({on_all_nodes()})",
            "What all nodes together have pulled for what runs, if each pulled each of its images once. Layers that two "
            "images of a node share are pulled once only, so that it is less. Only sources that know nodes count.",
        ),
        stat(
            "Outdated containers",
            "short",
            f"sum({runs('outdated_containers')})",
            "Containers whose tag points at something else now: started again, they would run another image.",
            steps=thresholds("green", (1, "orange")),
            decimals=0,
        ),
        stat(
            "Over budget",
            "short",
            f"count({sizes()} / {budget} > 1 and on ({TAG}) {containers}) or vector(0)",
            "Images that run and are bigger than their configured budget.",
            steps=thresholds("green", (1, "red")),
            decimals=0,
        ),
    ]
    images = [
        table(
            "The biggest that run",
            [
                ("A node pulls", "bytes", biggest),
                ("All nodes pull", "bytes", beside(on_all_nodes(), biggest)),
                ("Nodes", "short", beside(runs("nodes"), biggest)),
                ("Containers", "short", beside(containers, biggest)),
                ("Outdated", "short", beside(runs("outdated_containers"), biggest)),
            ],
            in_tag,
            "A node pulls: the compressed size, of the biggest platform that is chosen. All nodes pull: the same times the "
            "nodes that run it. Layers that a node has already are not pulled again.",
            width=24,
            link=True,
        ),
        graph(
            "Pulled by all nodes, the most",
            "bytes",
            [("{{registry}}/{{repository}}:{{tag}}", lines_of_most(on_all_nodes))],
            "Compressed size times nodes, of the images for which it is most at the end of the time range.",
        ),
        graph(
            "Outdated containers over time",
            "short",
            [("outdated", f"sum({runs('outdated_containers')})"), ("all", f"sum({containers})")],
            "Containers whose tag points at something else now, among all.",
            steps=True,
        ),
    ]
    act = [
        table(
            "Where the tag has moved on",
            [("Outdated", "short", outdated), ("Containers", "short", beside(containers, outdated))],
            in_tag,
            "Images that run, and that their tag no longer points at.",
            link=True,
        ),
        table(
            "Furthest over budget",
            [("Of its budget", "none", over_budget), ("A node pulls", "bytes", beside(sizes(), over_budget))],
            in_tag,
            "Images that run and are bigger than their budget: 2 is twice as big.",
            link=True,
        ),
        table(
            "Tags that nobody runs, the biggest",
            [("Stored", "bytes", idle)],
            in_tag,
            "Watched tags of which no chosen source has a container. Stored: the distinct layers of all its platforms; what "
            "deleting it frees is less where other tags share them.",
            width=24,
            link=True,
        ),
    ]
    places = [
        table(
            "Namespaces",
            [
                ("Biggest image", "bytes", most(by_namespace)),
                ("Images", "short", beside(different(), most(by_namespace), "source, namespace")),
            ],
            {"source": "Source", "namespace": "Namespace"},
            "The biggest image that runs in each namespace, and how many different ones do.",
        ),
        graph(
            "Images by namespace",
            "short",
            [("{{source}} {{namespace}}", lines_of_most(different))],
            "Different images that run in a namespace.",
            steps=True,
        ),
        table(
            "Workloads with the biggest images",
            [("A node pulls", "bytes", most(sizes_by(workload)))],
            {
                "source": "Source",
                "namespace": "Namespace",
                "workload_kind": "Kind",
                "workload": "Workload",
                "container": "Container",
                **in_tag,
            },
            "Which containers of which workloads run the biggest images.",
            width=24,
            link=True,
        ),
    ]
    return board(
        "image-size-running",
        "Image size / What runs",
        "What the sources see: the biggest images that run, what nodes pull, which tags have moved on, and which nobody runs.",
        variables,
        [("At a glance", glance), ("Images that run", images), ("To look at", act), ("Where they run", places)],
        "now-7d",
    )


def exporter():
    mine = 'job=~"$job", instance=~"$instance"'
    registry = mine + ', registry=~"$registry"'
    targets = mine + ', target=~"$target"'
    own = "image_size_exporter_"

    def of_targets(family, at=""):
        return f"max by (instance, target) ({own}target_{family}{{{targets}}}{at})"

    def rate(family, by, more=""):
        return f"sum by ({by}) (rate({own}registry_{family}{{{registry}{more}}}[$__rate_interval]))"

    def quantile(part):
        # Of a registry that was asked nothing there is no number, and no line.
        return f"histogram_quantile({part}, {rate('request_duration_seconds_bucket', 'registry, le')}) >= 0"

    age = f"(time() - {of_targets('last_scan_timestamp_seconds')}) / {of_targets('interval_seconds')}"
    slowest = most(of_targets("last_scan_duration_seconds"))

    def beside(expr):
        return f"{expr} and on (instance, target) {slowest}"

    variables = [
        datasource_variable(),
        query_variable("job", "image_size_exporter_build_info"),
        query_variable("instance", 'image_size_exporter_build_info{job=~"$job"}'),
        query_variable("registry", f"{own}registry_requests_total{{{mine}}}"),
        query_variable("target", f"{own}target_interval_seconds{{{mine}}}"),
        top_variable(),
    ]
    ok = [{"type": "value", "options": {"0": {"text": "failed"}, "1": {"text": "in force"}}}]
    kept = [{"type": "value", "options": {"0": {"text": "not in use"}, "1": {"text": "in use"}}}]
    health = [
        stat(
            "Exporters down",
            "short",
            f"sum(up{{{mine}}} == bool 0)",
            "Chosen exporters that Prometheus cannot scrape. One that it never could, in this time range, is offered by "
            "no variable: the alert ImageSizeExporterDown tells of it.",
            width=3,
            steps=thresholds("green", (1, "red")),
            decimals=0,
        ),
        stat(
            "Version",
            "none",
            f"max by (version) ({own}build_info{{{mine}}})",
            "The running version; two while a new one is rolled out.",
            width=3,
            legend="{{version}}",
        ),
        stat(
            "Configuration",
            "none",
            f"min({own}config_last_reload_successful{{{mine}}})",
            "Whether the configuration in the file is in force. If its last reload failed, the one before still is.",
            width=3,
            steps=thresholds("red", (1, "green")),
            mappings=ok,
        ),
        stat(
            "Loaded",
            "dateTimeFromNow",
            f"1000 * min({own}config_last_reload_success_timestamp_seconds{{{mine}}})",
            "When the configuration in force was loaded.",
        ),
        stat(
            "State file",
            "none",
            f"min({own}state_persistent{{{mine}}})",
            "Whether what was read is kept in the state file. If not, it is known until the exporter ends, and read again "
            "after that.",
            width=3,
            steps=thresholds("red", (1, "green")),
            mappings=kept,
            none="none",
        ),
        stat(
            "Incomplete targets",
            "short",
            f"sum({of_targets('up')} == bool 0)",
            "Targets whose last scan did not read all that it meant to.",
            steps=thresholds("green", (1, "orange")),
            decimals=0,
        ),
        stat(
            "Oldest scan, in intervals",
            "none",
            f"max({age})",
            "How long ago the longest unscanned target's scan ended, measured in its own interval. Above three there "
            "is an alert, above eleven if its registry is down: then it is scanned less often.",
            steps=thresholds("green", (2, "orange"), (3, "red")),
            decimals=1,
        ),
    ]
    scans = [
        table(
            "Targets, the slowest",
            [
                ("Scan took", "s", slowest),
                ("Interval", "s", beside(of_targets("interval_seconds"))),
                (
                    "Of its interval",
                    "percentunit",
                    beside(f"{of_targets('last_scan_duration_seconds')} / {of_targets('interval_seconds')}"),
                ),
                ("Last scan", "dateTimeFromNow", beside(f"1000 * {of_targets('last_scan_timestamp_seconds')}")),
                ("Complete", "bool_yes_no", beside(of_targets("up"))),
            ],
            {"target": "Target", "instance": "Instance"},
            "The last scan of each target. One that takes longer than its interval is scanned less often than asked.",
            width=24,
        ),
        graph(
            "Scan duration, the slowest",
            "s",
            [
                (
                    "{{target}} {{instance}}",
                    lines_of_most(lambda at: of_targets("last_scan_duration_seconds", at)),
                )
            ],
            "How long each target's last scan took.",
            steps=True,
        ),
        graph(
            "Age of the last scan, in intervals",
            "none",
            [("oldest", f"max({age})"), ("half are below", f"quantile(0.5, {age})")],
            "Time since the last scan, in the target's own intervals. It saws between zero and one when all is well.",
        ),
    ]
    requests = [
        graph(
            "Requests by operation",
            "reqps",
            [("{{registry}} {{operation}}", rate("requests_total", "registry, operation") + " > 0")],
            "Requests to registries, each second.",
            width=8,
        ),
        graph(
            "Failures by reason",
            "reqps",
            [("{{registry}} {{operation}}: {{reason}}", rate("request_failures_total", "registry, operation, reason") + " > 0")],
            "Failed requests, each second. A 401 that only asks for a token is no failure.",
            width=8,
        ),
        graph(
            "Failures, of all requests",
            "percentunit",
            [("{{registry}}", f"{rate('request_failures_total', 'registry')} / ({rate('requests_total', 'registry')} > 0)")],
            "The part of the requests that fails.",
            width=8,
        ),
        graph(
            "Request duration",
            "s",
            [("{{registry}}, 99 in 100 below", quantile(0.99)), ("{{registry}}, half below", quantile(0.5))],
            "How long requests to each registry take.",
        ),
        graph(
            "Pulls left",
            "short",
            [
                ("{{registry}} left", f"min by (registry) ({own}registry_ratelimit_remaining{{{registry}}})"),
                ("{{registry}} limit", f"min by (registry) ({own}registry_ratelimit_limit{{{registry}}})"),
            ],
            "What registries that meter pulls say is left, and allowed, in their window. Empty where none does.",
            dashed=[" limit$"],
            width=8,
        ),
        stat(
            "Least pulls left",
            "percentunit",
            f"min({own}registry_ratelimit_remaining{{{registry}}} / {own}registry_ratelimit_limit{{{registry}}})",
            "Pulls left as a part of the limit, of the registry where it is least.",
            height=9,
            steps=thresholds("red", (0.25, "green")),
        ),
    ]
    cost = [
        graph(
            "CPU",
            "percentunit",
            [("{{instance}}", f"sum by (instance) (rate(process_cpu_seconds_total{{{mine}}}[$__rate_interval]))")],
            "Processor time: 100 % is one core.",
            width=8,
        ),
        graph(
            "Memory",
            "bytes",
            [("{{instance}}", f"max by (instance) (process_resident_memory_bytes{{{mine}}})")],
            "Resident memory.",
            width=8,
        ),
        graph(
            "Open files",
            "short",
            [
                ("{{instance}} open", f"max by (instance) (process_open_fds{{{mine}}})"),
                ("{{instance}} allowed", f"max by (instance) (process_max_fds{{{mine}}})"),
            ],
            "Open file descriptors against what is allowed.",
            width=8,
            dashed=[" allowed$"],
        ),
        graph(
            "Rendering and scraping",
            "s",
            [
                ("{{instance}} render", f"max by (instance) ({own}render_duration_seconds{{{mine}}})"),
                ("{{instance}} scrape", f"max by (instance) (scrape_duration_seconds{{{mine}}})"),
            ],
            "Render: writing the exposition once after a change. Scrape: Prometheus's side of fetching it.",
        ),
        graph(
            "Series and documents",
            "short",
            [
                ("{{instance}} series", f"max by (instance) ({own}series{{{mine}}})"),
                ("{{instance}} documents remembered", f"max by (instance) ({own}store_documents{{{mine}}})"),
            ],
            "Series: published ones. Documents: manifests and configs that never need to be read again.",
        ),
    ]
    return board(
        "image-size-exporter",
        "Image size / Exporter",
        "The exporter itself: its scans, its requests to registries and their failures, rate limits, and what it costs.",
        variables,
        [("Health", health), ("Scans", scans), ("Registries", requests), ("Cost", cost)],
        "now-6h",
    )


BOARDS = {
    "overview.json": overview,
    "image.json": image,
    "running.json": running,
    "cost.json": cost,
    "exporter.json": exporter,
}


def render(make):
    return json.dumps(make(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, make in BOARDS.items():
        (pathlib.Path(__file__).parent / name).write_text(render(make), encoding="utf-8")
