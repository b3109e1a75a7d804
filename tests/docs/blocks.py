"""The fenced blocks of a page of Markdown, with the marks before them.

A mark is a comment on the line before a block's fence:

<!-- file: NAME -->       the block is the content of a file of this name
<!-- not run: REASON -->  the block is not run
<!-- exit: 101 -->        the block's last command ends with this exit code
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>file|not run|exit): (?P<value>.*) -->\n)?"
    r"^(?P<fence>```+)(?P<language>.*)\n(?P<text>(?:.*\n)*?)^(?P=fence)$",
    re.MULTILINE,
)


def pages() -> list[Path]:
    """README and every page of the guide; extending.md has recipes, which tests/recipes runs."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(page for page in found if page.name != "extending.md")]


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the lines that the page shows below it."""

    line: str
    shown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """A block: its language, text, line on the page, and marks ("" if it has none)."""

    language: str
    text: str
    line: int
    file: str = ""
    not_run: str = ""
    exit_code: int = 0

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block. Raises ValueError for text before the first."""
        found: list[Command] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith("$ "):
                found.append(Command(_whole(line.removeprefix("$ "), lines)))
            elif found:
                found[-1].shown.append(line)
            else:
                raise ValueError(
                    f"line {self.line}: a console block begins with `$ `, not {line!r}"
                )
        return found


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for found in _BLOCK.finditer(page):
        mark, value = found["mark"], found["value"]
        yield Block(
            found["language"].strip(),
            found["text"],
            page.count("\n", 0, found.start("fence")) + 1,
            file=value if mark == "file" else "",
            not_run=value if mark == "not run" else "",
            exit_code=int(value) if mark == "exit" else 0,
        )


def _whole(command: str, more: Iterator[str]) -> str:
    """A command with its further lines: after a backslash, and while a quote is open."""
    while command.endswith("\\") or _is_open(command):
        command += "\n" + next(more)
    return command


def _is_open(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False
