"""Every file and folder that tests/README.md names exists."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE / "README.md").read_text(encoding="utf-8")


def test_files_that_the_table_of_claims_names_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)`", TEXT)
    assert len(named) > 80
    assert [name for name in named if not (HERE / name).is_file()] == []


def test_every_folder_is_named_with_its_suite() -> None:
    tests = [path.relative_to(HERE) for path in HERE.rglob("*/test_*.py")]
    folders = {path.parts[0] for path in tests} | {"peers"}
    assert folders == set(re.findall(r"\[\w+\]\((\w+)\)", TEXT))
