#!/usr/bin/env python3
"""What containers listen on, `:port`: both IPv4 and IPv6 are answered, and the health check, which has no address of
its own, finds it whether a flag, the environment or the file says so."""

import socket
import subprocess

from programs import Programs, exporter_binary, free_port, get, wait_for

LISTEN = "IMAGE_SIZE_EXPORTER__WEB__LISTEN"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True


def main():
    hosts = ["127.0.0.1", *(["[::1]"] if has_ipv6() else [])]
    with Programs() as programs:
        target = f'[[targets]]\nrepository = "127.0.0.1:{free_port()}/acme/app"\n'
        for way in ("flag", "environment", "file"):
            port = free_port()
            text = f'[web]\nlisten = ":{port}"\n' + target if way == "file" else target
            file = f"--config.file={programs.write(f'{way}.toml', text)}"
            flags = [f"--web.listen-address=:{port}"] if way == "flag" else []
            env = {LISTEN: f":{port}"} if way == "environment" else {}
            programs.start(way, exporter_binary(), file, *flags, env=env)
            for host in hosts:
                wait_for(f"{host} answers, {way}", lambda: get(f"http://{host}:{port}/-/ready"))
            health = subprocess.run(
                [exporter_binary(), "health", file, *flags], env=env, capture_output=True, text=True
            )
            assert health.returncode == 0, f"health, {way}: {health.stdout}{health.stderr}"
            programs.running[way].terminate()
            assert programs.running[way].wait(30) == 0
            silent = subprocess.run([exporter_binary(), "health", file, *flags], env=env, capture_output=True)
            assert silent.returncode != 0, f"health, {way}: healthy without an exporter"
    print(f"{', '.join(hosts)} and the health check answer")


if __name__ == "__main__":
    main()
