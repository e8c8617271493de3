"""A Tidings of docker compose: a project, ports and volumes of its own."""

import json
import os
import subprocess

from http_client import Http
from ports import free_port
from program import ROOT
from wait import until

START_S = 120


class Compose:
    def __init__(self, name, *flags):
        self.name, self.flags = f"tidings-test-{name}-{os.getpid()}", flags
        self.ports = {port: free_port() for port in (8080, 9090, 4222)}
        self.environment = {
            **os.environ,
            "TIDINGS_HTTP_PORT": str(self.ports[8080]),
            "TIDINGS_GRPC_PORT": str(self.ports[9090]),
            "NATS_PORT": str(self.ports[4222]),
            "COMPOSE_PROJECT_NAME": self.name,
        }
        self.http = Http(self.ports[8080])

    def __call__(self, *arguments, limit_s=600):
        command = ["docker", "compose", *self.flags, *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, command):
        """A command of the documents, as it stands but for the project's name and ports."""
        if " up " in command and "--detach" not in command:
            command += f" --detach --wait --wait-timeout {START_S}"  # until all are healthy
        done = subprocess.run(
            command,
            shell=True,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if " up " in command:
            until(lambda: Http.answers(self.ports[8080], "/ready", 200), START_S, self.logs)
        return done.stdout

    def down(self):
        self("down", "--volumes", "--timeout", "5")

    def logs(self):
        return self("logs", "--tail", "40")

    def containers(self, service):
        """What the engine says of each that runs, in the order of their numbers."""
        ids = self("ps", "--quiet", service).split()
        if not ids:
            return []
        text = subprocess.run(
            ["docker", "inspect", *ids], capture_output=True, text=True, check=True
        ).stdout
        return sorted(json.loads(text), key=lambda container: container["Name"])
