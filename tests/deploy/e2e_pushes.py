#!/usr/bin/env python3
"""The board's panel of pushes shows each push once, wherever the steps of a query fall between pushes and scrapes: asked
of a real Prometheus that has some hours of such samples."""

import collections
import json
import time

import check_boards
from e2e_boards import substitute
from programs import Programs, Query, free_port

SERIES = "container_image_tag_changed_timestamp_seconds"
MINUTE, HOUR = 60, 3600
SCRAPE = MINUTE


def samples(begin, end):
    """(tag, instance, value, at) of every scrape, and for each tag when its pushes were first scraped."""
    scrapes = [begin + 17 + SCRAPE * number for number in range((end - begin - 17) // SCRAPE)]
    found, learnt = [], collections.defaultdict(list)

    def tag(name, pushes, instance=lambda at: "one", missed=lambda at: False):
        before = None
        for at in scrapes:
            seen = [push for push in pushes if push <= at]
            if not seen or missed(at):
                continue
            found.append((name, instance(at), seen[-1], at))
            if seen[-1] != before and seen[-1] > begin:
                learnt[name].append(at)
            before = seen[-1]

    gap = range(begin + HOUR, begin + HOUR + 40 * MINUTE)
    tag("often", [begin + 300 + 433 * number for number in range(24)])
    tag("long ago", [begin - 72 * HOUR])
    tag("not scraped for a while", [begin + 20 * MINUTE], missed=lambda at: at in gap)
    tag("pushed meanwhile", [begin - 72 * HOUR, begin + 80 * MINUTE], missed=lambda at: at in gap)
    tag("moved", [begin + 50 * MINUTE, begin + 130 * MINUTE], instance=lambda at: "one" if at < begin + 90 * MINUTE else "two")
    return found, learnt


def main():
    board = json.loads((check_boards.GRAFANA / "image.json").read_text())
    (panel,) = [panel for panel in check_boards.panels_of(board) if panel["title"] == "Pushes"]
    (target,) = panel["targets"]
    end = int(time.time()) - 5 * MINUTE
    begin = end - 3 * HOUR
    found, learnt = samples(begin, end)
    lines = [
        f'{SERIES}{{job="j",instance="{instance}",registry="r",repository="a/b",tag="{tag}"}} {value} {at}'
        for tag, instance, value, at in found
    ]
    history = "\n".join([f"# TYPE {SERIES} gauge", *lines, "# EOF\n"])
    asked = 0
    with Programs() as programs:
        prometheus = Query(programs.prometheus(f"127.0.0.1:{free_port()}", history=history))
        for step in (15, 60, 75, 300):
            values = {
                **{"job": "j", "registry": "r", "repository": "a/b", "tag": ".*", "top": "100"},
                **{"__interval": f"{step}s", "__interval_ms": str(1000 * step)},
            }
            expr = substitute(target["expr"], values)
            for phase in range(0, step, 7):
                start = begin + 10 * MINUTE + phase
                last = start + (end - start) // step * step
                shown = {
                    labels["tag"]: sum(value for _, value in points)
                    for labels, points in prometheus.over(expr, start, last, step)
                }
                for tag in {tag for tag, *_ in found}:
                    pushes = len([at for at in learnt[tag] if start - step < at <= last])
                    got = shown.get(tag, 0)
                    assert got == pushes, f"{tag}, step {step} s, phase {phase} s: {pushes} pushes, {got:.0f} shown"
                asked += 1
    assert sum(map(len, learnt.values())) > 25
    print(f"{sum(map(len, learnt.values()))} pushes, each shown once in each of {asked} graphs")


if __name__ == "__main__":
    main()
