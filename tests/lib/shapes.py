"""Whether an answer is like a documented one: ids, times and positions by their shape only."""

import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TO_THE_SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
TIME = re.compile(rf"{TO_THE_SECOND}(?:\.\d{{3}})?Z")  # protobuf leaves out .000
NUMBER = re.compile(r"\d+")
# Numbers (in gRPC's JSON: digits in a string) that depend on what was done before.
COUNTED = {"position", "event_position", "eventPosition", "statusPosition", "generation"}
COUNTED |= {
    "firstEventPosition",
    "digest",
    "events",
    "tableBytes",
    "matched",
    "replayed",
    "skipped",
    "uptimeSeconds",
    "eventLogEnd",
    "statusLogEnd",
}
NAMES = {"processor"}  # whatever the machine is called
TALLIES = {"counts", "work"}  # each member a number, and only those that aren't 0


class Differs(Exception):
    """Says where, and how."""


def compare(documented, actual, ids, where="answer", member=None):
    """Raises Differs. `ids`: documented id -> the one that stands for it here; learns new ones."""
    if member in TALLIES:
        expect(all(NUMBER.fullmatch(str(value)) for value in actual.values()), where, actual)
    elif isinstance(documented, dict):
        expect(isinstance(actual, dict), where, actual)
        compare_members(documented, actual, ids, where)
    elif isinstance(documented, list):
        expect(isinstance(actual, list) and len(actual) == len(documented), where, actual)
        for number, value in enumerate(documented):
            compare(value, actual[number], ids, f"{where}[{number}]")
    elif member in COUNTED:
        same = type(actual) is type(documented) and NUMBER.fullmatch(str(actual))
        expect(same, where, actual)
    elif isinstance(documented, str) and member not in NAMES:
        expect(isinstance(actual, str), where, actual)
        compare_text(documented, actual, ids, where)
    elif member not in NAMES:
        expect(type(actual) is type(documented) and actual == documented, where, actual)


def compare_members(documented, actual, ids, where):
    """They have the same, but for a generation: gRPC's JSON leaves out 0, and another document may
    have replayed the event."""
    expect(
        set(actual) - {"generation"} == set(documented) - {"generation"},
        f"members of {where}",
        sorted(actual),
    )
    for name, value in actual.items():
        compare(documented.get(name, 0), value, ids, f"{where}.{name}", name)


def expect(condition, where, actual):
    if not condition:
        raise Differs(f"{where}: {actual!r}")


def compare_text(documented, actual, ids, where):
    """Equal, but for ids and times in it; an ellipsis stands for anything."""
    pattern, position, named = "", 0, []
    for special in re.finditer(rf"({UUID.pattern})|({TIME.pattern})|…", documented):
        pattern += re.escape(documented[position : special.start()])
        position = special.end()
        if special.group(1):
            named.append(special.group(1))
            pattern += f"({UUID.pattern})"
        elif special.group(2):  # with milliseconds where the document has them
            pattern += TO_THE_SECOND + (r"(?:\.\d{3})?Z" if "." in special.group(2) else "Z")
        else:
            pattern += ".*"
    pattern += re.escape(documented[position:])
    found = re.fullmatch(pattern, actual, re.S)
    expect(found, where, actual)
    for name, own in zip(named, found.groups()):
        expect(ids.setdefault(name, own) == own, f"{where}, which was {ids[name]}", own)
