#!/usr/bin/env python3
"""Draws each board as an SVG beside it, for README: the board's own layout, with what its queries returned.

    tests/deploy/e2e_boards.py --save data.json     (see there) asks a real Prometheus
    grafana/picture.py data.json                    draws; README shows the overview's first panels, overview-top.svg
    grafana/picture.py --check                      fails if a picture is not of its board as it is now

It is a sketch of what Grafana shows, not a copy: it has the panels, their places, titles, values and units.
"""

import html
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
BOARDS = ["overview", "image", "running", "cost", "exporter"]
COLUMN, ROW, GAP = 52, 27, 4
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#f2495c", "#8ab8ff", "#96d98d", "#ffb357", "#ca95e5"]
TEXT, FAINT, PANEL, BACK = "#d8d9da", "#8e8f93", "#1f2126", "#121317"


def shown(value, unit):
    """A number as Grafana writes it in a unit."""
    if value != value:
        return ""
    if unit == "bytes":
        sign, size, name = ("-" if value < 0 else ""), abs(value), "B"
        for bigger in ("KiB", "MiB", "GiB", "TiB"):
            if size < 1024:
                break
            size, name = size / 1024, bigger
        return f"{sign}{size:.0f} {name}" if size >= 100 else f"{sign}{size:.3g} {name}"
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
    if unit == "reqps":
        return f"{value:.3g} req/s"
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    if unit == "dateTimeFromNow":
        seconds = max(0, NOW - value / 1000)
        for name, size in (("year", 31557600), ("day", 86400), ("hour", 3600), ("minute", 60)):
            if seconds >= 1.5 * size:
                return f"{seconds / size:.0f} {name}s ago"
        return "a few seconds ago"
    return f"{value:.4g}"


def named(legend, labels):
    if legend == "__auto":
        return ", ".join(labels.values())
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def text(x, y, words, size=12, fill=TEXT, anchor="start", weight="normal"):
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{html.escape(words)}</text>'
    )


def cut(words, width, size=12):
    room = max(1, int(width / (size * 0.6)))
    return words if len(words) <= room else words[: room - 1] + "…"


def draw_stat(panel, results, w, h):
    rows = results[0]["rows"]
    if not rows:
        return ""
    labels, points = rows[0]
    legend = results[0]["legend"]
    words = named(legend, labels) if legend != "__auto" else shown(points[-1][1], results[0]["unit"])
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        words = mapping["options"].get(words, {"text": words})["text"]
    colour = TEXT
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or points[-1][1] >= step["value"]:
            colour = {"text": TEXT, "green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}[step["color"]]
    return text(w / 2, h / 2 + 20, words, 26 if len(words) < 12 else 17, colour, "middle", "bold")


def draw_timeseries(panel, results, w, h):
    series = [(named(r["legend"], labels), points) for r in results for labels, points in r["rows"]]
    series.sort(key=lambda one: -one[1][-1][1])
    unit = results[0]["unit"]
    values = [value for _, points in series for _, value in points if value == value]
    if not values:
        return ""
    legends = min(len(series), 4)
    top, left, right, bottom = 34, 62, w - 12, h - 14 - 16 * legends
    times = [at for _, points in series for at, _ in points]
    begin, span = min(times), max(max(times) - min(times), 1)
    highest = max(max(values) * 1.1, 1e-9)
    drawn = []
    for part in (0, 0.5, 1):
        y = bottom - (bottom - top) * part
        drawn.append(f'<path d="M{left} {y:.0f}H{right:.0f}" stroke="#33353b"/>')
        drawn.append(text(left - 6, y + 4, shown(highest * part, unit) if part else "0", 10, FAINT, "end"))
    for number, (_, points) in reversed(list(enumerate(series))):
        at = [
            f"{left + (right - left) * (when - begin) / span:.0f} {bottom - (bottom - top) * value / highest:.0f}"
            for when, value in points
            if value == value
        ]
        colour = COLOURS[number % len(COLOURS)]
        if panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars":
            bars = [f"M{place}V{bottom:.0f}" for place in at]
            drawn.append(f'<path d="{"".join(bars)}" stroke="{colour}" stroke-width="12"/>')
        elif at:
            at = at if len(at) > 1 else at * 2
            drawn.append(f'<path d="M{"L".join(at)}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for number, (name, points) in enumerate(series[:legends]):
        y = h - 8 - 16 * (legends - 1 - number)
        drawn.append(f'<rect x="12" y="{y - 6}" width="12" height="4" fill="{COLOURS[number % len(COLOURS)]}"/>')
        drawn.append(text(30, y, cut(name, w - 130, 11), 11))
        drawn.append(text(w - 12, y, shown(points[-1][1], unit), 11, FAINT, "end"))
    return "".join(drawn)


def merged(results):
    """The rows of a table: results joined on the labels that all of them have."""
    frames = [[(labels, points[-1][1]) for labels, points in result["rows"]] for result in results]
    common = set.intersection(*({label for labels, _ in frame for label in labels} for frame in frames if frame), set(frames[0][0][0])) if frames[0] else set()
    rows = {}
    for index, frame in enumerate(frames):
        field = "Value" if len(frames) == 1 else f"Value #{chr(ord('A') + index)}"
        for labels, value in frame:
            key = tuple(labels.get(label, "") for label in sorted(common))
            rows.setdefault(key, {}).update({**labels, field: value})
    return list(rows.values())


def draw_table(panel, results, w, h):
    rows = merged(results)
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    fields = [field for field in organize["indexByName"] if not organize["excludeByName"].get(field)]
    alone = len(results) == 1
    units = {"Value" if alone else f"Value #{chr(ord('A') + i)}": result["unit"] for i, result in enumerate(results)}
    sort = panel["options"]["sortBy"][0]["displayName"]
    by = next((field for field in fields if organize["renameByName"][field] == sort), None)
    rows.sort(key=lambda row: -row[by] if isinstance(row.get(by), float) else 0)
    cells = [[organize["renameByName"][field] for field in fields]]
    for row in rows[: int((h - 62) / 21)]:
        cells.append([shown(row[f], units[f]) if f in units and f in row else str(row.get(f, "")) for f in fields])
    widths = [max(len(line[i][:44]) for line in cells) + 3 for i in range(len(fields))]
    scale = (w - 24) / sum(widths)
    drawn = []
    for number, line in enumerate(cells):
        x, y = 12, 50 + 21 * number
        for width, words, field in zip(widths, line, fields):
            size = width * scale
            colour = "#6e9fff" if number == 0 else TEXT
            if field in units:
                drawn.append(text(x + size - 12, y, cut(words, size - 6, 11), 11, colour, "end"))
            else:
                drawn.append(text(x, y, cut(words, size - 8, 11), 11, colour))
            x += size
        drawn.append(f'<path d="M12 {y + 7}H{w - 12:.0f}" stroke="#2c2e33"/>')
    return "".join(drawn)


def draw_barchart(panel, results, w, h):
    key = panel["options"]["xField"]
    names = [step["options"]["renameByName"] for step in panel["transformations"] if step["id"] == "organize"][0]
    rows = merged(results)[: int((h - 70) / 16)]
    fields = sorted(names)
    most = max((sum(row.get(field, 0) for field in fields) for row in rows), default=0) or 1
    drawn, height = [], (h - 66) / max(len(rows), 1)
    for number, row in enumerate(sorted(rows, key=lambda row: -sum(row.get(f, 0) for f in fields))):
        y = 34 + height * number
        drawn.append(text(150, y + height / 2 + 4, cut(row[key], 140, 11), 11, TEXT, "end"))
        x = 158.0
        for colour, field in zip(COLOURS, fields):
            size = (w - 180) * row.get(field, 0) / most
            drawn.append(f'<rect x="{x:.0f}" y="{y + 2:.0f}" width="{size:.0f}" height="{height - 4:.0f}" fill="{colour}"/>')
            if size > 60:
                drawn.append(text(x + size / 2, y + height / 2 + 4, shown(row[field], "bytes"), 10, "#121317", "middle"))
            x += size
    for number, (colour, field) in enumerate(zip(COLOURS, fields)):
        drawn.append(f'<rect x="{12 + 110 * number}" y="{h - 17:.0f}" width="12" height="4" fill="{colour}"/>')
        drawn.append(text(30 + 110 * number, h - 11, names[field], 11))
    return "".join(drawn)


DRAW = {"stat": draw_stat, "timeseries": draw_timeseries, "table": draw_table, "barchart": draw_barchart}


# Of the overview, what fits above the fold: its first panels.
TOP_HEIGHT_MAX = 600


def top(board):
    """The board without the panels that would not fit."""
    fits = lambda grid: (grid["y"] + grid["h"]) * ROW + 44 <= TOP_HEIGHT_MAX
    return {**board, "panels": [panel for panel in board["panels"] if fits(panel["gridPos"])]}


def draw(name, board, data):
    high = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    width, height = 24 * COLUMN + GAP, high * ROW + 44
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Inter, Helvetica, Arial, sans-serif">',
        f"<title>{html.escape(board['title'])}</title>",
        f'<rect width="{width}" height="{height}" fill="{BACK}"/>',
        text(12, 27, board["title"], 17, TEXT, weight="bold"),
    ]
    for panel in board["panels"]:
        grid = panel["gridPos"]
        x, y, w, h = grid["x"] * COLUMN + GAP, grid["y"] * ROW + 40, grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
        drawn.append(f'<g transform="translate({x} {y})" data-panel="{html.escape(identity(panel))}">')
        if panel["type"] == "row":
            drawn.append(text(6, 17, "⌄ " + panel["title"], 13, FAINT, weight="bold"))
        else:
            drawn.append(f'<rect width="{w}" height="{h}" rx="3" fill="{PANEL}"/>')
            drawn.append(text(10, 19, cut(panel["title"], w - 16, 12), 12, TEXT, weight="bold"))
            drawn.append(DRAW[panel["type"]](panel, data[f"{name}.json#{panel['id']}"], w, h))
        drawn.append("</g>")
    return "\n".join([*drawn, "</svg>", ""])


def identity(panel):
    grid = panel["gridPos"]
    return f"{panel['type']} {grid['x']},{grid['y']} {grid['w']}x{grid['h']} {panel['title']}"


def check():
    stale = []
    boards = {name: json.loads((HERE / f"{name}.json").read_text()) for name in BOARDS}
    for name, board in {**boards, "overview-top": top(boards["overview"])}.items():
        picture = (HERE / f"{name}.svg").read_text() if (HERE / f"{name}.svg").exists() else ""
        drawn = [html.unescape(found) for found in re.findall(r'data-panel="([^"]*)"', picture)]
        if drawn != [identity(panel) for panel in board["panels"]]:
            stale.append(f"grafana/{name}.svg is not of its board as it is now: draw it again")
    print("\n".join(stale))
    return 1 if stale else 0


def main():
    global NOW
    if sys.argv[1:] == ["--check"]:
        return check()
    NOW = pathlib.Path(sys.argv[1]).stat().st_mtime
    # Where the test ran is nobody's business: its programs get names.
    measured = re.sub(r'"instance": "[^"]*"', '"instance": "exporter:10048"', pathlib.Path(sys.argv[1]).read_text())
    data = json.loads(re.sub(r"127\.0\.0\.1:\d+", "registry.example", measured))
    for name in BOARDS:
        board = json.loads((HERE / f"{name}.json").read_text())
        (HERE / f"{name}.svg").write_text(draw(name, board, data))
        if name == "overview":
            (HERE / "overview-top.svg").write_text(draw(name, top(board), data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
