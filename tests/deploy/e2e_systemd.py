#!/usr/bin/env python3
"""What the systemd unit relies on, without a systemd: its own command lines, with the socket passed as systemd does
(`systemd-socket-activate`), readiness and watchdog told to a socket of ours, and a reload that checks first."""

import re
import shlex
import signal
import socket
import subprocess

from programs import KIB, ROOT, Programs, Repository, exporter_binary, free_port, get, layer, wait_for

UNIT = (ROOT / "deploy/systemd/image-size-exporter.service").read_text()
PROGRAM, CONFIG = "/usr/bin/image-size-exporter", "/etc/image-size-exporter/config.toml"


def command(line, config):
    """A command line of the unit, with this test's program and configuration in the place of the installed ones."""
    words = shlex.split(line.replace("$OPTIONS", ""))
    assert words[0] == PROGRAM and f"--config.file={CONFIG}" in words, words
    return [exporter_binary(), *(word.replace(CONFIG, str(config)) for word in words[1:])]


def main():
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.M)
    check, signal_line = re.findall(r"^ExecReload=(.*)$", UNIT, re.M)
    assert signal_line == "/bin/kill -HUP $MAINPID"
    (state_variable,) = re.findall(r"^Environment=(\w+)=/var/lib/", UNIT, re.M)

    with Programs() as programs:
        registry = programs.registry()
        Repository(registry, "acme/app").image("latest", [layer(KIB, "app")])
        before = f'[[targets]]\nname = "before"\nrepository = "{registry}/acme/app"\n'
        config = programs.write("config.toml", before)

        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(programs.folder / "notify"))
        notify.settimeout(30)
        host = f"127.0.0.1:{free_port()}"
        programs.start(
            "exporter",
            "systemd-socket-activate",
            f"--listen={host}",
            f"--setenv=NOTIFY_SOCKET={programs.folder / 'notify'}",
            "--setenv=WATCHDOG_USEC=1000000",
            f"--setenv={state_variable}={programs.folder / 'state.redb'}",
            *command(start, config),
        )

        def told(what):
            while True:
                if what in notify.recv(4096).decode().splitlines():
                    return

        # systemd-socket-activate starts it with the first connection.
        wait_for("it serves on the passed socket", lambda: get(f"http://{host}/-/ready"))
        told("READY=1")
        told("WATCHDOG=1")
        told("WATCHDOG=1")
        assert (programs.folder / "state.redb").exists(), "the unit's variable does not name the state file"

        def metrics():
            return get(f"http://{host}/metrics").decode()

        wait_for("the target is scanned", lambda: 'image_size_exporter_target_up{target="before"} 1' in metrics())
        config.write_text(before.replace("repository", "repositry"))
        refused = subprocess.run(command(check, config), capture_output=True, text=True)
        assert refused.returncode != 0 and "repositry" in refused.stdout + refused.stderr, "a wrong file passes the check"

        config.write_text(before.replace("before", "after"))
        subprocess.run(command(check, config), check=True, capture_output=True)
        programs.running["exporter"].send_signal(signal.SIGHUP)
        wait_for("the new file is in force", lambda: 'image_size_exporter_target_up{target="after"} 1' in metrics())
        assert 'target="before"' not in metrics()

        programs.running["exporter"].send_signal(signal.SIGTERM)
        told("STOPPING=1")
        assert programs.running["exporter"].wait(30) == 0


if __name__ == "__main__":
    main()
