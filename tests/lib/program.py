"""A program under test: started, killed, frozen, restarted; its log kept and searched."""

import json
import os
import re
import signal
import subprocess

from wait import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("TIDINGS_BUILD", "build"))
SANITIZED = os.path.basename(BUILD) if os.path.basename(BUILD) in ("asan", "tsan") else ""
# Programs with sanitizers are slower, and so is a machine that runs other things beside the tests.
PATIENCE_S = 60 if SANITIZED else 20

SANITIZER_REPORT = re.compile(
    r"(ERROR|WARNING): \w+Sanitizer|runtime error: |SUMMARY: \w+Sanitizer"
)


class Program:
    def __init__(self, name, folder, command, environment=None):
        self.name = name
        self.command = command
        self.environment = environment or {}
        self.log_path = os.path.join(folder, f"{name}.log")
        self.process = None
        self.log_start = 0  # where the log of the present life begins

    # ---- life ----

    def start(self):
        assert not self.alive(), f"{self.name} runs already"
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            # The death signal: nothing stays behind, not even of a test run that was killed itself.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**clean_environment(), **self.environment},
                start_new_session=True,
            )
        return self

    def relaunch(self):
        """Starts it as it was, and does not wait for anything."""
        return Program.start(self)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        assert self.alive(), f"{self.name} is not running\n{self.tail()}"
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        self.signal(signal.SIGSTOP)
        until(self.is_frozen, PATIENCE_S, lambda: f"{self.name} stands still")

    def is_frozen(self):
        """Each of its threads: a signal takes its time."""
        states = []
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/stat", encoding="ascii") as stat:
                states.append(stat.read().rpartition(")")[2].split()[0])
        return set(states) == {"T"}

    def thaw(self):
        self.signal(signal.SIGCONT)

    def stop(self, limit_s=PATIENCE_S + 30):
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {limit_s} s\n{self.tail()}"
            ) from None

    def discard(self):
        """At the end of a test, whatever state it is in."""
        if self.alive():
            self.process.kill()
            self.process.wait()

    # ---- its log ----

    def log(self, whole=False):
        with open(self.log_path, "rb") as log:
            log.seek(0 if whole else self.log_start)
            return log.read().decode("utf-8", "replace")

    def entries(self):
        """The JSON lines of the present life."""
        for line in self.log().splitlines():
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # the last line, half written

    def entry(self, message, limit_s=PATIENCE_S, **fields):
        """Waits for a log entry with this message and these fields."""

        def found():
            for entry in self.entries():
                if entry.get("msg") == message and all(
                    entry.get(k) == v for k, v in fields.items()
                ):
                    return entry
            assert self.alive(), f"{self.name} ended with {self.process.returncode}\n{self.tail()}"
            return None

        return until(found, limit_s, lambda: f"{self.name} logs {message!r}\n{self.tail()}")

    def tail(self, lines=25):
        """Its last words, without the log handler's line for each event."""
        if not os.path.exists(self.log_path):
            return f"--- {self.name}: never started"
        said = [line for line in self.log(whole=True).splitlines() if '"msg":"event"' not in line]
        text = "\n".join(said[-lines:])
        return f"--- {self.name}, last lines of its log:\n{text}"

    def sanitizer_report(self):
        if not os.path.exists(self.log_path):
            return None
        text = self.log(whole=True)
        found = SANITIZER_REPORT.search(text)
        return text[max(0, found.start() - 200) : found.start() + 6000] if found else None

    # ---- what it uses ----

    def cpu_s(self):
        """User and system time of all its threads since its start."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def clean_environment():
    """Ours, without what would configure the services."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("TIDINGS_") and not key.lower().endswith("_proxy")
    }
