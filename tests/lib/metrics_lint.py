"""What `promtool check metrics` says of an exposition (its promlint), and that it reads at all.

The rules are those of github.com/prometheus/client_golang/prometheus/testutil/promlint, in its
words; the parser is the official client's.
"""

import re

from prometheus_client.parser import text_string_to_metric_families

UNITS = "amperes bytes celsius grams joules kelvin meters metres seconds volts".split()
NO_BASE_UNITS = (
    "minutes hours days weeks kelvins fahrenheit rankine inches yards miles bits calories "
    "pounds ounces"
).split()
PREFIXES = (
    "pico nano micro milli centi deci deca hecto kilo kibi mega mibi giga gibi tera tebi peta pebi"
).split()
ABBREVIATIONS = "s ms us ns sec b kb mb gb tb pb m h d".split()
CAMEL_CASE = re.compile("[a-z][A-Z]")


def families(text):
    """name -> family, under the names that the text gives them; no name twice."""
    names = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    assert len(names) == len(set(names)), f"a TYPE line twice: {names}"
    parsed = list(text_string_to_metric_families(text))
    assert len(parsed) == len(names), "samples without a TYPE line before them"
    return dict(zip(names, parsed))


def problems(text):
    """What is wrong, a line each; none where promtool would be silent."""
    return [
        f"{name}: {problem}"
        for name, family in families(text).items()
        for problem in (
            *of_name(name, family.type),
            *of_labels(family),
            *of_values(family),
            *([] if family.documentation else ["no help text"]),
        )
    ]


def of_name(name, kind):
    words = name.split("_")
    if (kind == "counter") != name.endswith("_total"):
        yield "counters, and only they, end with _total"
    for word in words:
        if word in NO_BASE_UNITS or any(
            word == prefix + unit for prefix in PREFIXES for unit in UNITS + NO_BASE_UNITS
        ):
            yield f"use the base unit instead of {word}"
        if word in ABBREVIATIONS:
            yield f"abbreviated unit {word}"
        if word == kind:
            yield f"the type {kind} is in the name"
    if ":" in name or CAMEL_CASE.search(name):
        yield "colons and camelCase are not for names"
    if kind != "histogram" and words[-1] in ("bucket", "count", "sum"):
        yield f"the suffix _{words[-1]} is a histogram's"


def of_labels(family):
    seen = set()
    for sample in family.samples:
        key = (sample.name, *sorted(sample.labels.items()))
        if key in seen:
            yield f"not unique: {key}"
        seen.add(key)
        if family.type != "histogram" and "le" in sample.labels:
            yield "le is a histogram's label"
        if any(CAMEL_CASE.search(label) or label == "quantile" for label in sample.labels):
            yield f"bad labels {sample.labels}"


def of_values(family):
    """Counters don't fall below 0; each bucket holds the one before, the last holds all."""
    buckets, counts = {}, {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        series = tuple(sorted(labels.items()))
        if family.type == "counter" and not sample.value >= 0:
            yield f"{sample.name} is {sample.value}"
        if sample.name.endswith("_bucket"):
            buckets.setdefault(series, []).append((float(sample.labels["le"]), sample.value))
        elif family.type == "histogram" and sample.name.endswith("_count"):
            counts[series] = sample.value
    for series, found in buckets.items():
        if found != sorted(found) or [n for _, n in found] != sorted(n for _, n in found):
            yield f"buckets out of order: {series}"
        if found[-1] != (float("inf"), counts.get(series)):
            yield f"the last bucket is not the count: {series}"
