"""A whole Tidings for a test: NATS, gateways, processors on free ports, in one temporary folder."""

import os
import shutil
import socket
import threading

from http_client import Http
from ports import free_port
from program import BUILD, PATIENCE_S, SANITIZED, Program
from wait import until

# A gateway starts a thread for each connection, and a thread costs a sanitizer a megabyte.
FEWER_THREADS = {"max_connections": 128} if SANITIZED else {}


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Nats(Program):
    def __init__(self, folder, port=None, more=""):
        """more: further lines of its configuration."""
        self.port = port or free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.store = os.path.join(folder, "nats")
        config = os.path.join(folder, "nats.conf")
        with open(config, "w", encoding="ascii") as out:
            out.write(f"server_name: test\njetstream {{}}\nmax_payload: 2MB\n{more}")
        program = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")
        super().__init__(
            "nats",
            folder,
            [program, "-c", config, "-a", "127.0.0.1", "-p", str(self.port), "-sd", self.store],
        )

    def start(self):
        super().start()
        until(
            lambda: connects(self.port) and "Server is ready" in self.log(),
            PATIENCE_S,
            lambda: f"NATS answers\n{self.tail()}",
        )
        return self


class Service(Program):
    """A service of ours: flags as keyword arguments (ack_wait="2s"), ports taken once and kept."""

    def __init__(self, name, folder, program, flags, config=None):
        self.program, self.flags, self.folder = program, flags, folder
        super().__init__(name, folder, [])
        if config is not None:
            self.configure(config)

    def configure(self, config):
        """The configuration file of its next lives."""
        self.flags["config"] = os.path.join(self.folder, f"{self.name}.yaml")
        with open(self.flags["config"], "w", encoding="utf-8") as out:
            out.write(config)

    def start(self):
        self.relaunch()
        self.learn_ports()
        return self

    def relaunch(self):
        self.command = [os.path.join(BUILD, self.program)]
        for flag, value in self.flags.items():
            self.command += [f"--{flag.replace('_', '-')}", str(value)]
        return super().relaunch()

    def listening(self, address_of):
        """The port of a listener, from its `listening` line; later lives keep it."""
        flag = address_of
        port = self.entry("listening", listener=flag)["port"]
        self.flags[flag] = f"127.0.0.1:{port}"
        return port

    @property
    def http(self):
        """A connection to its HTTP port (of a processor: the admin port)."""
        return Http(self.http_port)

    def is_ready(self):
        return self.alive() and Http.answers(self.http_port, "/ready", 200)

    def until_ready(self, limit_s=PATIENCE_S):
        until(self.is_ready, limit_s, lambda: f"{self.name} is ready\n{self.tail()}")
        return self

    def metrics(self):
        """Name with labels -> value."""
        lines = self.http.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


class Gateway(Service):
    def learn_ports(self):
        self.http_port = self.listening("listen")

    def until_reaches_a_processor(self):
        """It accepts events without one, but answers no questions; and it tries only so often."""
        until(
            lambda: self.http.get("/ready").json()["checks"]["processor"] == "ok",
            PATIENCE_S,
            lambda: f"{self.name} reaches a processor\n{self.tail()}",
        )


class Processor(Service):
    def learn_ports(self):
        self.grpc_port = self.listening("listen")
        self.http_port = self.listening("admin")
        self.address = f"127.0.0.1:{self.grpc_port}"


class Tidings:
    """with Tidings(folder) as tidings: tidings.nats(); tidings.processor(); tidings.gateway()"""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.programs = []
        self.bus = None
        self.bus_url = None  # what services connect to: NATS itself, or a proxy before it
        self.lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.discard()

    def add(self, program):
        with self.lock:
            self.programs.append(program)
        return program

    # ---- parts ----

    def nats(self, more=""):
        self.bus = self.add(Nats(self.folder, more=more)).start()
        self.bus_url = self.bus_url or self.bus.url
        return self.bus

    def gateways(self):
        return [program for program in self.programs if isinstance(program, Gateway)]

    def processors(self):
        return [program for program in self.programs if isinstance(program, Processor)]

    def gateway(self, start=True, config=None, **flags):
        processors = self.processors()
        addresses = ",".join(p.address for p in processors) or "127.0.0.1:1"
        flags = {
            "bus": self.bus_url,
            "listen": f"127.0.0.1:{free_port()}",
            "processor": f"ipv4:{addresses}",
            **FEWER_THREADS,
            **flags,
        }
        gateway = Gateway(
            f"gateway-{len(self.gateways()) + 1}", self.folder, "http-gateway", flags, config
        )
        self.add(gateway)
        return gateway.start().until_ready() if start else gateway

    def processor(self, start=True, config=None, **flags):
        name = f"processor-{len(self.processors()) + 1}"
        addresses = {flag: f"127.0.0.1:{free_port()}" for flag in ("listen", "admin")}
        data = os.path.join(self.folder, "data")
        flags = {"bus": self.bus_url, "data": data, **addresses, **flags}
        processor = self.add(Processor(name, self.folder, "event-processor", flags, config))
        return processor.start().until_ready() if start else processor

    # ---- afterwards ----

    def logs(self):
        return "\n".join(program.tail() for program in self.programs)

    def assert_clean(self):
        """No sanitizer has reported anything, in no life of any program."""
        for program in self.programs:
            report = program.sanitizer_report()
            assert report is None, f"{program.name}: a sanitizer reports\n{report}"
