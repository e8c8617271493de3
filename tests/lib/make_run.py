"""What `make run` starts, on other ports: scripts/run, and commands of the documents against it."""

import os
import subprocess

from ports import free_port
from program import BUILD, PATIENCE_S, ROOT, Program, clean_environment
from wait import until

VARIABLES = {
    8080: "TIDINGS_HTTP_LISTEN",
    9090: "TIDINGS_GRPC_LISTEN",
    9091: "TIDINGS_ADMIN_LISTEN",
}
TOOLS = os.path.join(ROOT, "build/bin")  # grpcurl and nats


class Run(Program):
    """scripts/run on other ports and with its data elsewhere."""

    def __init__(self, folder, ports=None):
        self.ports = ports or {port: free_port() for port in (*VARIABLES, 4222)}
        environment = {name: f"127.0.0.1:{self.ports[port]}" for port, name in VARIABLES.items()}
        environment["TIDINGS_BUS"] = self.bus = f"nats://127.0.0.1:{self.ports[4222]}"
        environment["TIDINGS_BUILD"] = BUILD
        self.var = os.path.join(folder, "var")
        super().__init__(
            "run", folder, [os.path.join(ROOT, "scripts/run"), "--var", self.var], environment
        )

    def until_ready(self):
        until(
            lambda: "Ready. Send an event" in self.log() or not self.alive(),
            2 * PATIENCE_S,
            lambda: f"it says that it is ready\n{self.tail()}",
        )
        assert self.alive(), self.tail()
        return self

    def children(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as line:
                    if int(fields[1]) == self.pid:
                        found.append((int(pid), line.read().split("\0")[0]))
            except OSError:
                continue
        return {os.path.basename(program): pid for pid, program in found}

    def own(self, command):
        """A command of the documents with our ports for the documented ones."""
        for port, own in self.ports.items():
            command = command.replace(f"localhost:{port}", f"localhost:{own}")
        return command

    def surroundings(self):
        """The environment of such a command: our tools, and our ports where variables name them."""
        environment = clean_environment()
        python = os.path.join(ROOT, "build/venv/bin")
        environment["PATH"] = f"{TOOLS}:{python}:{environment['PATH']}"
        environment["NATS_URL"] = self.bus
        environment["GATEWAY"] = f"http://localhost:{self.ports[8080]}"
        environment["XDG_CONFIG_HOME"] = self.var  # nats keeps contexts there
        return environment

    def shell(self, command, folder=ROOT, limit_s=60):
        return subprocess.run(
            self.own(command),
            shell=True,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=limit_s,
            env=self.surroundings(),
            check=False,
        )
