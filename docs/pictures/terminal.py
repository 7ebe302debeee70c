#!/usr/bin/env python3
"""Draws docs/pictures/inspect.svg, for README: what `inspect A B` writes to a terminal about a release of the demo that
outgrew the one before it.

    docs/pictures/terminal.py target/dist/image-size-exporter

The output is real. Only the demo's address is replaced by a name, and digests of the first lines are cut.
"""

import html
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

COLUMNS = 100
ADVANCE, LINE, SIZE = 8.4, 19, 14
COLOURS = {"31": "#f2777a", "32": "#99cc99", "33": "#ffcc66"}
TEXT, DIM, BACK = "#d3d0c8", "#8a8f98", "#1f2126"


def until(holds, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.5)
    raise SystemExit("gave up waiting for the demo")


def in_terminal(command, folder):
    """What the command writes to a terminal."""
    leader, follower = pty.openpty()
    done = subprocess.Popen(
        command, cwd=folder, stdin=follower, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS)}
    )
    os.close(follower)
    said = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    assert done.wait() == 0, said.decode()
    return said.decode().replace("\r\n", "\n")


def grown(page):
    """A pair of tags of which the second is more than a third bigger."""
    sizes = re.findall(r'container_image_compressed_size_bytes\{registry="[^"]*",repository="shop/api",tag="(v[\d.]+)",platform="linux/amd64"\} (\d+)', page)
    sizes = sorted((list(map(int, tag[1:].split("."))), int(size), tag) for tag, size in sizes)
    for (_, old, before), (_, new, after) in zip(sizes, sizes[1:]):
        if new > 4 / 3 * old:
            return before, after
    return None


def spans(line):
    """The line's parts, each with its style."""
    style = ""
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if code := re.fullmatch(r"\x1b\[([\d;]*)m", part):
            style = "" if code[1] in ("", "0") else code[1]
        elif part:
            yield style, part


def draw(prompt, said):
    lines = [f"$ {prompt}", *said.rstrip("\n").split("\n")]
    bare = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    width, height = 32 + ADVANCE * max(map(len, bare)), 32 + LINE * len(lines)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{SIZE}" xml:space="preserve">',
        f"<title>{html.escape(prompt)}</title>",
        f'<rect width="{width:.0f}" height="{height}" rx="6" fill="{BACK}"/>',
    ]
    for number, line in enumerate(lines):
        at = 0
        for style, words in spans(line):
            look = f'fill="{COLOURS.get(style, DIM if style == "2" else TEXT)}"' + (' font-weight="bold"' if style == "1" else "")
            x, length = 16 + ADVANCE * at, ADVANCE * len(words)
            drawn.append(
                f'<text x="{x:.1f}" y="{29 + LINE * number}" textLength="{length:.1f}" {look}>{html.escape(words)}</text>'
            )
            at += len(words)
    return "\n".join([*drawn, "</svg>", ""])


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "demo", "--web.listen-address=127.0.0.1:0"]
        demo = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            address = registry = None
            for line in demo.stdout:
                registry = registry or re.search(r"runs on (127\.0\.0\.1:\d+)", line)
                if address := re.search(r"msg=listening address=(\S+)", line):
                    break
            page = f"http://{address[1]}/metrics"
            before, after = until(lambda: grown(urllib.request.urlopen(page).read().decode()))
            pair = [f"{registry[1]}/shop/api:{tag}" for tag in (before, after)]
            said = in_terminal([binary, "inspect", "--platform", "linux/amd64", *pair], folder)
        finally:
            demo.terminate()
            demo.wait()
    named = [one.replace(registry[1], "registry.example") for one in pair]
    said = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", said.replace(registry[1], "registry.example"))
    picture = draw(f"image-size-exporter inspect --platform linux/amd64 {' '.join(named)}", said)
    (pathlib.Path(__file__).parent / "inspect.svg").write_text(picture)


if __name__ == "__main__":
    main()
