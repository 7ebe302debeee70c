#!/usr/bin/env python3
"""The image in a real Docker engine: what deploy/docker/Dockerfile's last stage makes, around a static binary that is
already built, run read-only and without any right against a registry, and asked for its health by the engine.

Needs root, and IMAGE_SIZE_EXPORTER to be linked statically:

    RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile dist --target x86_64-unknown-linux-gnu

The engine is started by hand, with nothing of the machine's: its own folder, no bridge, no iptables. Nothing is pulled,
so the first stage is left out: its commands are the build above.
"""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

from programs import KIB, ROOT, Programs, Repository, exporter_binary, free_port, get, layer, wait_for

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def is_static(binary):
    """No program interpreter among the ELF file's program headers."""
    data = binary.read_bytes()
    assert data[:5] == b"\x7fELF\x02", f"{binary} is no 64-bit ELF file"
    (offset,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    kinds = [struct.unpack_from("<I", data, offset + number * size)[0] for number in range(count)]
    return 3 not in kinds


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


def build(engine, folder, binary):
    """The last stage as it stands, with `COPY --from=build` reading what the first would have laid out."""
    stage = DOCKERFILE.read_text().split("\nFROM scratch\n")[1]
    for source in ("/image/ /", "--chown=65532:65532 /state/ /var"):
        assert stage.count(f"COPY --from=build {source}") == 1, f"the last stage does not copy {source}"
    stage = stage.replace("COPY --from=build /image/", "COPY image/").replace("--from=build ", "").replace(" /state/", " state/")
    (folder / "Dockerfile").write_text("FROM scratch\n" + stage)
    for path, source in [("usr/local/bin/image-size-exporter", binary), (CERTIFICATES[1:], CERTIFICATES)]:
        (folder / "image" / path).parent.mkdir(parents=True)
        shutil.copy(source, folder / "image" / path)
    (folder / "state").mkdir()
    engine.run("build", "--network=host", "--build-arg=VERSION=test", "--tag=image-size-exporter:test", folder)


def main():
    if os.geteuid() != 0:
        sys.exit("a Docker engine needs root")
    binary = exporter_binary()
    assert is_static(binary), f"{binary} is not linked statically"
    with Programs() as programs:
        registry = programs.registry()
        Repository(registry, "acme/app").image("latest", [layer(64 * KIB, "app")])
        engine = Engine(programs)
        context = programs.folder / "context"
        context.mkdir()
        build(engine, context, binary)
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
