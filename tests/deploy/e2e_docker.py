#!/usr/bin/env python3
"""The image in a real Docker engine: built from the context that deploy/release/run has made, run read-only and without
any right against a registry, and asked for its health by the engine. As root.

e2e_docker.py DIR

The engine is started by hand, with nothing of the machine's: its own folder, no bridge, no iptables. Nothing is pulled.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

from programs import KIB, Programs, Repository, free_port, get, layer, wait_for


class Engine:
    def __init__(self, programs):
        self.folder = programs.folder / "docker"
        self.folder.mkdir()
        programs.callback(self.unmount)
        self.socket = f"unix://{self.folder}/docker.sock"
        programs.start(
            "dockerd",
            "dockerd",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--storage-driver=vfs",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/pid",
            f"--host={self.socket}",
        )
        wait_for("the engine answers", lambda: self.run("version", check=False).returncode == 0)

    def unmount(self):
        """The engine leaves a network namespace mounted behind."""
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            where = line.split()[1]
            if where.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", where], check=False)

    def run(self, *arguments, check=True):
        done = subprocess.run(
            ["docker", "--host", self.socket, *(str(argument) for argument in arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(self.folder)},
        )
        assert done.returncode == 0 or not check, f"docker {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done


def main():
    if os.geteuid() != 0:
        sys.exit("a Docker engine needs root")
    (packed,) = pathlib.Path(sys.argv[1], "image").glob("*.tar")
    with Programs() as programs:
        registry = programs.registry()
        Repository(registry, "acme/app").image("latest", [layer(64 * KIB, "app")])
        engine = Engine(programs)
        context = programs.folder / "context"
        context.mkdir()
        subprocess.run(["tar", "--extract", "--file", packed, "--directory", context], check=True)
        architecture = packed.name.split(".")[0]
        arguments = [f"--build-arg={argument}" for argument in (f"TARGETARCH={architecture}", "VERSION=test")]
        engine.run("build", "--network=host", *arguments, "--tag=image-size-exporter:test", context)
        (image,) = json.loads(engine.run("image", "inspect", "image-size-exporter:test").stdout)
        assert image["Config"]["User"] == "65532:65532" and image["Config"]["Healthcheck"]
        labels = image["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == "test" and labels["org.opencontainers.image.licenses"]

        # By name, and not by address: a static program without any library must still resolve names.
        name = registry.replace("127.0.0.1", "localhost")
        config = programs.write(
            "image.toml",
            f"""
            [scan]
            interval = "1s"

            [state]
            path = "/var/lib/image-size-exporter/state.redb"

            [[targets]]
            repository = "{name}/acme/app"
            """,
        )
        config.chmod(0o644)
        programs.folder.chmod(0o755)
        port = free_port()
        container = engine.run(
            "run",
            "--detach",
            "--network=host",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--health-interval=1s",
            f"--volume={config}:/etc/image-size-exporter/config.toml:ro",
            "--volume=state:/var/lib/image-size-exporter",
            # As the documentation has it: every address, of both kinds where there are both.
            f"--env=IMAGE_SIZE_EXPORTER__WEB__LISTEN=:{port}",
            "image-size-exporter:test",
        ).stdout.strip()
        try:
            series = f'container_image_compressed_size_bytes{{registry="{name}",repository="acme/app",tag="latest"'
            wait_for("the image is measured", lambda: series in get(f"http://127.0.0.1:{port}/metrics").decode(), 30)

            def health():
                (state,) = json.loads(engine.run("inspect", container).stdout)
                return state["State"]["Health"]

            wait_for("the engine finds it healthy", lambda: health()["Status"] == "healthy", 30)
            state = engine.folder / "data/volumes/state/_data"
            assert state.stat().st_uid == 65532, "a new volume does not belong to the exporter"
            assert (state / "state.redb").stat().st_size > 0, "no state was written"
            status = open(f"/proc/{json.loads(engine.run('inspect', container).stdout)[0]['State']['Pid']}/status").read()
            assert re.search(r"^Uid:\s+65532\s+65532", status, re.M), "not the user that the image names"
            assert re.search(r"^CapEff:\s+0+$", status, re.M), "the process has capabilities"
            assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        except AssertionError:
            print(engine.run("logs", container, check=False).stderr, file=sys.stderr)
            raise
        finally:
            stopped = engine.run("stop", container, check=False)
        assert stopped.returncode == 0
        (state,) = json.loads(engine.run("inspect", container).stdout)
        assert state["State"]["ExitCode"] == 0, f"SIGTERM ends it with {state['State']['ExitCode']}"
        engine.run("rm", container)


if __name__ == "__main__":
    main()
