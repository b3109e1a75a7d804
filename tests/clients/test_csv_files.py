"""No text in a CSV file becomes a formula of a spreadsheet."""

import pytest

from batchgrad.downloads.csv_files import safe


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "-", "-inf", "-a", "＝1"],
)
def test_what_would_be_computed_has_an_apostrophe(text: str) -> None:
    assert safe(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "anna", "-5", "+49.5e3", "-0.5", "a=b", "x-1", "'=1"])
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert safe(text) == text
