#!/usr/bin/env python3
"""The pages of `demo` in a real browser: every page is opened, clicked through, sorted, searched, made as narrow as a
telephone, in light and dark, and read without script. Nothing is said on the console, nothing is asked of another host,
axe-core finds no serious fault, and the figures are those of /metrics. With --pictures, writes docs/pictures."""

import json
import os
import pathlib
import re
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "deploy"))

from programs import ROOT, Programs, exporter_binary, free_port, get, get_json, wait_for  # noqa: E402
from webdriver import Browser  # noqa: E402

AXE = pathlib.Path(os.environ["AXE"]).read_text()
PAGES_MAX = 40
PICTURES = ROOT / "docs" / "pictures"


def metric(base, name):
    for line in get(f"{base}/metrics").decode().splitlines():
        if line.startswith(name + "{"):
            return float(line.rsplit(" ", 1)[1])
    return None


class Check:
    def __init__(self, browser, base):
        self.browser = browser
        self.base = base
        self.opened = 0

    def open(self, path):
        self.browser.open(self.base + path)
        self.opened += 1
        assert self.browser.title().endswith("image-size-exporter"), f"{path}: {self.browser.title()}"

    def axe(self, what):
        """No fault that axe calls serious or critical."""
        self.browser.run(AXE)
        found = self.browser.run_later(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, (e) => done({error: String(e)}))"
        )
        assert "error" not in found, f"{what}: {found}"
        faults = [
            f"{fault['id']} ({fault['impact']}): {fault['help']}: {fault['nodes'][0]['html'][:300]}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert not faults, f"{what}:\n" + "\n".join(faults)

    def quiet(self):
        """Nothing on the console, and no request to another host, since the last call."""
        said = [entry["message"] for entry in self.browser.logs("browser")]
        assert not said, said
        for entry in self.browser.logs("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert url.startswith((self.base + "/", "data:", "about:", "chrome:")), url

    def fits(self, width, what):
        real = self.browser.run("return document.documentElement.scrollWidth")
        assert real <= width, f"{what}: {real} pixels wide on {width}"


def links(browser):
    return browser.run("return Array.from(document.querySelectorAll('main a[href]'), (a) => a.getAttribute('href'))")


def crawl(check):
    """Every page that a click leads to, of each kind of address."""
    waiting, seen = ["/", "/search", "/compare"], set()
    while waiting and len(seen) < PAGES_MAX:
        path = waiting.pop(0)
        if path in seen or not path.startswith("/"):
            continue
        seen.add(path)
        check.open(path)
        heading = check.browser.text("h1")
        # A release more, and the oldest is gone: its page says so.
        assert heading, path
        found = [link for link in links(check.browser) if link not in seen]
        kinds = {kind: [link for link in found if link.startswith("/" + kind)] for kind in ("repository", "image", "compare")}
        waiting += [link for kind in kinds.values() for link in kind[:4]]
    assert len(seen) > 15, seen
    check.quiet()


def every_look(check, paths):
    """Each page in light and dark, wide and narrow."""
    for name, path in paths.items():
        check.open(path)
        for scheme in ("light", "dark"):
            check.browser.scheme(scheme)
            for width in (1280, 420):
                check.browser.width(width)
                check.fits(width, f"{name}, {scheme}")
                if (scheme, width) != ("dark", 420):
                    check.axe(f"{name}, {scheme}, {width} pixels")
    check.browser.scheme("light")
    check.browser.width(1280)
    check.quiet()


def sorting(check, repository):
    browser = check.browser
    check.open("/")
    # The table of targets: names rise first, and fall on the second click.
    targets = "[aria-label='Targets']"
    head = f"{targets} thead th:first-child"
    names = lambda: browser.texts(f"{targets} tbody td:first-child bdi")  # noqa: E731
    for order, reverse in (("ascending", False), ("descending", True)):
        browser.click(f"{head} button")
        assert browser.read(f"/element/{browser.find(head)}/attribute/aria-sort") == order
        assert names() == sorted(names(), reverse=reverse), names()
    # So are spans, in whatever unit they are written, and what is unknown stays last.
    browser.click(f"{targets} thead th:nth-child(5) button")
    took = browser.run("return Array.from(document.querySelectorAll(arguments[0]), (cell) => cell.querySelector('data')?.value ?? null)", f"{targets} tbody td:nth-child(5)")
    known = [float(value) for value in took if value is not None]
    assert known and known == sorted(known, reverse=True) and None not in took[: len(known)], took
    # Figures are sorted by their exact bytes.
    sizes = "[aria-label='Biggest images'] tbody tr td:nth-child(2) data"
    values = lambda: [int(v) for v in browser.run("return Array.from(document.querySelectorAll(arguments[0]), (d) => d.value)", sizes)]  # noqa: E731
    browser.click("[aria-label='Biggest images'] thead th:nth-child(2) button")
    assert values() == sorted(values(), reverse=True), values()
    browser.click("[aria-label='Biggest images'] thead th:nth-child(2) button")
    assert values() == sorted(values()), values()
    # The server sorts the list that may have more pages.
    check.open(repository)
    browser.click("[aria-label='Tags'] thead th:first-child a")
    assert "sort=name" in browser.url(), browser.url()
    tags = browser.texts("[aria-label='Tags'] tbody td:first-child a")
    assert tags == sorted(tags), tags
    check.quiet()


def treemap(check):
    browser = check.browser
    check.open("/")
    before = browser.text(".hover")
    tile = "svg.wide-only a[href^='/image/']"
    browser.point_at(tile + " rect")
    said = browser.wait("the tile under the pointer is named", lambda: (now := browser.text(".hover")) != before and now)
    assert re.search(r"shop/\w+:\S+: [\d.]+ \w+ \([\d,]+ bytes\)", said), said
    browser.click(tile + " rect")
    browser.wait("the tile leads to its image", lambda: "/image/" in browser.url())
    # By keyboard: first the link past the navigation, then the pages.
    check.open("/")
    browser.press(["\ue004"])
    assert browser.run("return document.activeElement.textContent") == "Skip to the content"
    browser.press(["\ue007"])
    assert browser.url().endswith("#content")
    browser.press(["\ue004"])
    assert browser.run("return document.activeElement.getAttribute('href')").startswith(("/repository/", "/image/"))
    check.quiet()


def searching(check):
    browser = check.browser
    check.open("/")
    browser.type("#search", "worker")
    browser.press(["\ue007"])
    browser.wait("the search is answered", lambda: "q=worker" in browser.url())
    assert any(text.endswith("/shop/worker") for text in browser.texts("main td a")), browser.texts("main td a")
    hostile = "<script>alert(1)</script>\"'\u202e"
    check.open("/search?q=" + urllib.parse.quote(hostile))
    assert "<script>alert(1)</script>\"'" in browser.text("h1"), browser.text("h1")
    assert browser.run("return document.scripts.length") == 1
    check.quiet()


def comparing(check, repository, tag):
    browser = check.browser
    check.open(repository)
    browser.click("form.compare button")
    browser.wait("two tags are compared", lambda: "/compare" in browser.url())
    assert len(browser.find_all("main svg.stack")) == 2
    # From an image to the one before it, and to who shares a layer.
    check.open(repository.replace("/repository/", "/image/") + f":{tag}")
    browser.click("details summary")
    assert browser.find_all("details[open] li a")
    browser.click("form.compare button")
    browser.wait("an image is compared", lambda: "/compare" in browser.url())
    check.quiet()


def figures(check):
    """What the page shows is what is scraped at that moment; a release may come in between."""
    shown = lambda: int(check.browser.run("return document.querySelector('.figures data').value"))  # noqa: E731

    def agree():
        check.open("/")
        before = metric(check.base, "container_image_registry_stored_size_bytes")
        page = shown()
        return page == before and json.loads(get(check.base + "/api/v1/overview"))["totals"]["stored_bytes"] >= page

    check.browser.wait("the page has the figures of /metrics", agree, 30)


def without_script(driver, profile, base, repository):
    browser = Browser(driver, profile, script=False)
    try:
        browser.open(base + "/")
        assert "What is watched" in browser.source() and "<button" not in browser.source().split("<main")[1]
        browser.click("svg.wide-only a[href^='/image/'] rect")
        browser.wait("a tile is a link", lambda: "/image/" in browser.url())
        browser.open(base + repository)
        browser.click("[aria-label='Tags'] thead th:nth-child(2) a")
        browser.wait("the server sorts", lambda: "sort=size" in browser.url())
        browser.click("form.compare button")
        browser.wait("a form is a form", lambda: "/compare" in browser.url())
        browser.type("#search", "api")
        browser.press(["\ue007"])
        browser.wait("the search is answered", lambda: "q=api" in browser.url())
        assert not browser.logs("browser")
    finally:
        browser.close()


def pictures(check, paths):
    browser = check.browser
    for name, path, scheme, width, height in (
        ("overview", paths["overview"], "light", 1120, 1000),
        ("repository", paths["repository"], "light", 1120, 1180),
        ("image", paths["image"], "dark", 1120, 800),
        ("telephone", paths["overview"], "light", 420, 1000),
    ):
        browser.scheme(scheme)
        browser.width(width, height)
        check.open(path)
        (PICTURES / f"page-{name}.png").write_bytes(browser.picture())


def main():
    with Programs() as programs:
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        programs.start("demo", exporter_binary(), "demo", f"--web.listen-address=127.0.0.1:{port}")
        driver = f"http://127.0.0.1:{free_port()}"
        programs.start("chromedriver", "/usr/bin/chromedriver", f"--port={driver.rsplit(':', 1)[1]}")
        wait_for("chromedriver answers", lambda: get_json(f"{driver}/status")["value"]["ready"])
        # All of it is read, and somebody has pushed a release since.
        wait_for("the demo is read", lambda: metric(base, "container_image_registry_stored_size_bytes"))
        wait_for("a layer is streamed", lambda: metric(base, "container_image_unpacked_size_bytes"))
        registry = get_json(f"{base}/api/v1/overview")["registries"][0]["registry"]
        repository = f"/repository/{registry}/shop/worker"
        tag = "v1.7.0"
        paths = {
            "overview": "/",
            "repositories": "/search",
            "search": "/search?q=v1",
            "repository": repository,
            "image": f"/image/{registry}/shop/worker:{tag}",
            "comparison": f"/compare?a={registry}/shop/worker:v1.6.0&b={registry}/shop/worker:{tag}",
            "missing": f"/repository/{registry}/shop/none",
        }
        browser = Browser(driver, programs.folder / "profile")
        try:
            check = Check(browser, base)
            if "--pictures" in sys.argv:
                pictures(check, paths)
                return
            crawl(check)
            every_look(check, {name: path for name, path in paths.items() if name != "missing"})
            sorting(check, repository)
            treemap(check)
            searching(check)
            comparing(check, repository, tag)
            figures(check)
            check.quiet()
        finally:
            browser.close()
        without_script(driver, programs.folder / "other", base, repository)
        print(f"{check.opened} pages opened")


if __name__ == "__main__":
    main()
