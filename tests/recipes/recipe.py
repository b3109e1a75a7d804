"""Recipes of docs/extending.md: read from the page, and applied to a copy of the tree."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/extending.md"

_HEADING = re.compile(r"## (?P<title>.+)")
_INSERT = re.compile(r"In `(?P<path>[^`]+)`, (?P<where>before|after) `(?P<anchor>[^`]+)`:")
_REPLACE = re.compile(r"In `(?P<path>[^`]+)`, replace `(?P<old>[^`]+)` with `(?P<new>[^`]+)`\.")
_NEW = re.compile(r"New file `(?P<path>[^`]+)`:")
_RUN = re.compile(r"Then run (?P<tests>.+)\.")


@dataclass(frozen=True)
class Edit:
    """One change of a file: `new` before or after the one line that is `old`, or in its place.

    Without `old` the file is a new one.
    """

    path: str
    where: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Change the file below `root`.

        Raises:
            ValueError: the file does not hold `old` exactly once, or is not new.
        """
        file = root / self.path
        if self.where == "new":
            if file.exists():
                raise ValueError(f"{self.path} is there already")
            file.write_text(self.new)
            return
        text = file.read_text()
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.path} holds {self.old!r} {found} times, expected once")
        replacement = {
            "before": self.new + self.old,
            "after": self.old + self.new,
            "replace": self.new,
        }[self.where]
        file.write_text(text.replace(self.old, replacement))


@dataclass(frozen=True)
class Recipe:
    """The edits below one heading of the page, and the tests that it says to run."""

    title: str
    edits: list[Edit]
    tests: list[str]

    @property
    def files(self) -> set[str]:
        """Paths of the files that the recipe touches."""
        return {edit.path for edit in self.edits}


def recipes(page: str) -> list[Recipe]:
    """The recipes of a page; headings without edits are none."""
    found = [
        Recipe(title, list(_edits(lines)), _tests(lines))
        for title, lines in _sections(page.splitlines(keepends=True))
    ]
    return [recipe for recipe in found if recipe.edits]


def copy_tree(root: Path) -> None:
    """Copy the project's files, as git lists them, below `root`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    title, section = "", list[str]()
    for line in lines:
        if heading := _HEADING.match(line):
            yield title, section
            title, section = heading["title"].strip(), []
        else:
            section.append(line)
    yield title, section


def _tests(lines: list[str]) -> list[str]:
    runs = [run["tests"] for line in lines if (run := _RUN.match(line))]
    return [path for run in runs for path in re.findall(r"`([^`]+)`", run)]


def _edits(lines: list[str]) -> Iterator[Edit]:
    for number, line in enumerate(lines):
        if insert := _INSERT.search(line):
            anchor, block = insert["anchor"], _block(lines, number)
            if insert["where"] == "after":
                anchor = f"\n{anchor}\n"
            elif block.startswith(("class ", "def ")):
                block += "\n\n"
            elif block.startswith(("    def ", "    async def ")):
                block += "\n"
            yield Edit(insert["path"], insert["where"], anchor, block)
        elif replace := _REPLACE.search(line):
            yield Edit(replace["path"], "replace", replace["old"], replace["new"])
        elif new := _NEW.search(line):
            yield Edit(new["path"], "new", "", _block(lines, number))


def _block(lines: list[str], number: int) -> str:
    """The fenced block that begins after line `number`."""
    begin = next(i for i in range(number + 1, len(lines)) if lines[i].startswith("```"))
    end = next(i for i in range(begin + 1, len(lines)) if lines[i].startswith("```"))
    return "".join(lines[begin + 1 : end])
