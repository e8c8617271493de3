"""The documents' code blocks: what a reader would copy, and the output that is shown beside it."""

import glob
import os
import re

from program import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)


class Block:
    """A ```sh block: its commands, and the block that shows the last one's output, if any."""

    def __init__(self, document, line, text):
        self.document, self.line = document, line
        self.commands = commands(text)
        self.output = None

    def __repr__(self):
        return f"{self.document}:{self.line}"


def commands(text):
    """Its commands, each in one piece; without comments, and lines that go on joined."""
    whole = re.sub(r"\\\n\s*", "", text)
    lines = (re.sub(r"\s+#\s.*$", "", line).strip() for line in whole.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read(document):
    with open(os.path.join(ROOT, document), encoding="utf-8") as file:
        return file.read()


def paths():
    """Documents with commands for readers, README first."""
    found = glob.glob("docs/**/*.md", root_dir=ROOT, recursive=True)
    return ["README.md", *sorted([*found, "examples/README.md", "tests/README.md"])]


def blocks(document):
    """Its ```sh blocks in their order. An output follows its commands in the same section."""
    text = read(document)
    found, end = [], None
    for fence in FENCE.finditer(text):
        language, code = fence.groups()
        if language == "sh":
            found.append(Block(document, text.count("\n", 0, fence.start()) + 1, code))
        elif (
            end is not None and language in ("", "json") and "\n#" not in text[end : fence.start()]
        ):
            found[-1].output = code
        end = fence.end() if language == "sh" else None
    return found


def readme_commands():
    """README's calls, those of curl and grpcurl."""
    lines = [line for block in blocks("README.md") for line in block.commands]
    return [line for line in lines if line.startswith(("curl ", "grpcurl "))]


def outside_fences(document):
    return FENCE.sub("", read(document))


def links(document):
    """Where its links lead, those to other sites left out."""
    return re.findall(r"\]\(([^):]+)\)", outside_fences(document))


def anchors(document):
    """Those of its headings, as GitHub makes them; of headings that are alike, the first's."""
    titles = re.findall(r"^#+ (.+)$", outside_fences(document), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
