"""The documents of the project, and the blocks of code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [
        *sorted(ROOT.glob("*.md")),
        *(found for room in ("benchmarks", "sts_async", "tests") for found in sorted((ROOT / room).rglob("*.md"))),
    ]
}
"""Texts, by their paths from the root of the project."""


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code of one language in a document, indented ones of lists included."""
    found = re.findall(rf"^( *)```{language}\n(.*?)\n\1```$", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def prose(text: str) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    """Return the prose of a section, from below its heading to the next heading of its level or above."""
    lines = iter(prose(text).splitlines())
    level = next(line.count("#") for line in lines if line.lstrip("#") == f" {title}" and line.startswith("#"))
    found = []
    for line in lines:
        if re.match(rf"#{{1,{level}}} ", line):
            break
        found.append(line)
    return "\n".join(found)


COMMANDS = blocks(README, "sh")
"""The blocks of commands in README.md. CI runs the second one, so it must stay the second one."""
