"""Who tries the documents' commands, and the ways to see that they do what is said beside them."""

import json
import os
import re
import subprocess
import time

from documents import read
from program import BUILD, PATIENCE_S, ROOT, SANITIZED
from shapes import Differs, compare
from wait import POLL_S, until


class Reader:
    """Who reads the documents and tries everything, in a folder that looks like the repository."""

    def __init__(self, run, folder):
        self.run, self.folder = run, folder
        self.ids = {}  # documented -> here
        self.last_id = None  # of the latest 202; what <id> in a document stands for
        for name in ("examples", "scripts", "tests"):
            os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
        os.symlink(BUILD, os.path.join(folder, "build"))

    def own(self, command):
        for documented, here in self.ids.items():
            command = command.replace(documented, here)
        return re.sub(r"<(?:the )?id[^>]*>", str(self.last_id), command)

    def shell(self, command, limit_s=60, folder=None):
        done = self.run.shell(self.own(command), folder or self.folder, limit_s)
        accepted = re.search(r'"event_id":"([^"]+)","status":"accepted"', done.stdout)
        if accepted:
            self.last_id = accepted.group(1)
        return done

    def has_sent(self, block):
        """What other documents ask for: sent once, before the first of them is read."""
        if not self.ids:
            shows(self, block.commands[0], block.output)


# ---- ways to check a command: each is called with the reader and the command ----


def succeeds(done, command):
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def says(*patterns):
    """It succeeds, and its output has all of these."""

    def check(reader, command):
        def all_said():
            text = succeeds(reader.shell(command), command)
            said.append(text)
            return all(re.search(pattern, text) for pattern in patterns)

        said = []
        if asks(command):
            until(all_said, PATIENCE_S, lambda: f"{command} says {patterns}\n{said[-1]}")
        else:
            assert all_said(), f"{command} says {patterns}\n{said[-1]}"

    return check


def refuses(*patterns):
    """It fails, and says these."""

    def check(reader, command):
        done = reader.shell(command)
        assert done.returncode != 0 and all(p in done.stderr for p in patterns), done

    return check


def goes_on(pattern, after=None, first=""):
    """It runs until it is stopped, and says this before; `after`: what makes it say so, once it
    has said what comes first."""

    def check(reader, command):
        with Running(reader, command) as text:

            def until_said(this):
                until(
                    lambda: re.search(this, text()),
                    PATIENCE_S,
                    lambda: f"{command} says {this}\n{text()}",
                )

            if after:
                until_said(first)
                succeeds(reader.shell(after), after)
            until_said(pattern)

    return check


class Running:
    """A command in the background; gives a function that returns what it has said."""

    def __init__(self, reader, command, **variables):
        self.path = os.path.join(reader.folder, "output")
        with open(self.path, "wb") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f"exec {reader.run.own(command)}"],
                cwd=reader.folder,
                env={**reader.run.surroundings(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def text(self):
        with open(self.path, encoding="utf-8", errors="replace") as output:
            return output.read()

    def __enter__(self):
        return self.text

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def instead(command, reason, check, sanitized=True):
    """Another one is run in its place. `sanitized`: also where the build has sanitizers."""
    assert reason

    def other(reader, _):
        if sanitized or not SANITIZED:
            check(reader, command)

    return other


def elsewhere(where, marker):
    """It is run by another test, which has this text."""

    def check(_, command):
        assert marker in read(where), f"{command}: {where} has no {marker!r}"

    return check


def in_the_repository(pattern, limit_s):
    """For make, which wants the Makefile's folder."""

    def check(reader, command):
        assert re.search(pattern, succeeds(reader.shell(command, limit_s, ROOT), command))

    return check


def leaves_a_file(name):
    def check(reader, command):
        succeeds(reader.shell(command), command)
        assert os.path.getsize(os.path.join(reader.folder, name)) > 0

    return check


# ---- what is shown beside a command ----


def asks(command):
    """Whether it may be run again until its answer is the one that is shown."""
    return not (command.startswith("curl ") and (" -d " in command or " -X " in command))


def parsed(body):
    """JSON, or a list of what stands in its lines."""
    try:
        return json.loads(body)
    except ValueError:
        return [json.loads(line) for line in body.splitlines()]


def parts(output):
    """What is shown, or has come out: status line, headers, JSON (None where there is none)."""
    start, headers, body = "", {}, output.strip().replace("\r\n", "\n")
    if body.startswith("HTTP/"):
        head, _, body = body.partition("\n\n")
        start, *lines = head.split("\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    if body.startswith(("{", "[")):
        return start, headers, parsed(body)
    return start, headers, body


def compare_outputs(shown, actual, ids):
    """An output has all the headers that are shown, and maybe more."""
    (start, headers, body), (own_start, own_headers, own_body) = parts(shown), parts(actual)
    compare(start, own_start, ids, "status line")
    compare(body, own_body, ids)
    for name, value in headers.items():
        compare(value, own_headers.get(name), ids, name)


def shows(reader, command, output):
    """What it prints is what is shown; what only asks is asked again until it is."""
    end = time.monotonic() + PATIENCE_S
    while True:
        done = reader.shell(command)
        try:
            # What sends gives the ids that it shows; what asks must get them again.
            known = reader.ids.items()
            ids = {shown: own for shown, own in known if asks(command) or shown not in output}
            compare_outputs(output, done.stdout or done.stderr, ids)
            reader.ids = ids
            return
        except (Differs, ValueError) as differs:
            if not asks(command) or time.monotonic() > end:
                raise AssertionError(f"{command}\n{differs}\n{done.stdout}{done.stderr}") from None
        time.sleep(POLL_S)
