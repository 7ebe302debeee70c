"""A browser, driven over HTTP as the WebDriver specification says. Standard library only."""

import base64
import json
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

# No sandbox, since tests run as root; no request of the browser's own.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,1000",
]


class Browser:
    """One session, with an empty profile of its own."""

    def __init__(self, driver, profile, script=True):
        self.driver = driver
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"], "binary": "/usr/bin/chromium"}
        if not script:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{answer['sessionId']}"

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.driver + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:2000]}") from None

    def post(self, path, **body):
        return self.ask("POST", self.session + path, body)

    def read(self, path):
        return self.ask("GET", self.session + path)

    def open(self, url):
        self.post("/url", url=url)

    def url(self):
        return self.read("/url")

    def title(self):
        return self.read("/title")

    def source(self):
        return self.read("/source")

    def run(self, script, *arguments):
        return self.post("/execute/sync", script=script, args=list(arguments))

    def run_later(self, script, *arguments):
        """A script that calls its last argument with its result."""
        return self.post("/execute/async", script=script, args=list(arguments))

    def find(self, css):
        return self.post("/element", using="css selector", value=css)[ELEMENT]

    def find_all(self, css):
        return [found[ELEMENT] for found in self.post("/elements", using="css selector", value=css)]

    def text(self, css):
        return self.read(f"/element/{self.find(css)}/text")

    def texts(self, css):
        return [self.read(f"/element/{found}/text") for found in self.find_all(css)]

    def click(self, css):
        self.post(f"/element/{self.find(css)}/click")

    def type(self, css, text):
        element = self.find(css)
        self.post(f"/element/{element}/clear")
        self.post(f"/element/{element}/value", text=text)

    def press(self, keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.post("/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def point_at(self, css):
        origin = {ELEMENT: self.find(css)}
        move = {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": origin}
        self.post("/actions", actions=[{"type": "pointer", "id": "mouse", "actions": [move]}])

    def wait(self, what, holds, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := holds():
                return answer
            time.sleep(0.05)
        raise AssertionError(f"gave up waiting: {what} at {self.url()}")

    def logs(self, kind):
        return self.ask("POST", self.session + "/se/log", {"type": kind})

    def devtools(self, command, **parameters):
        self.post("/goog/cdp/execute", cmd=command, params=parameters)

    def width(self, width, height=1000):
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def picture(self):
        return base64.b64decode(self.read("/screenshot"))

    def close(self):
        self.ask("DELETE", self.session)
