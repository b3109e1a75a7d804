"""Options of commands that take a file of examples: how it is to be read."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Format = Annotated[
    Literal["npz", "npy", "csv", "tsv", "jsonl", "parquet", "arrow", "pictures"] | None,
    typer.Option(help="The file's format; default by its name."),
]
Delimiter = Annotated[
    str | None, typer.Option(metavar="CHARACTER", help="Between a CSV file's values.")
]
Decimal = Annotated[Literal[".", ","] | None, typer.Option(help="A CSV file's decimal mark.")]
Encoding = Annotated[
    str | None, typer.Option(metavar="NAME", help="A CSV file's encoding; default utf-8.")
]
NoHeadings = Annotated[bool, typer.Option("--no-headings", help="A CSV file's first line is data.")]
Gaps = Annotated[
    list[str] | None,
    typer.Option("--gap", metavar="TEXT", help="A text that means no value; repeatable."),
]
Size = Annotated[
    str | None, typer.Option(metavar="HxW", help="Resize pictures to this height and width.")
]
Mode = Annotated[Literal["rgb", "gray"] | None, typer.Option(help="Colours of pictures.")]
ReadTimeout = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Time for the service to read the file.")
]


def one_or_more(files: Sequence[Path] | None) -> Any:
    """The data of a command's files: one as it is, several as a tuple, None for none."""
    if not files:
        return None
    return files[0] if len(files) == 1 else tuple(files)


def text_options(
    delimiter: str | None,
    decimal: str | None,
    encoding: str | None,
    gaps: list[str] | None,
    *,
    no_headings: bool,
) -> dict[str, Any]:
    """The options of text that were given, by the contract's names."""
    from batchgrad.data.options import given

    return given(
        delimiter="\t" if delimiter == "\\t" else delimiter,
        decimal=decimal,
        encoding=encoding,
        gaps=gaps or None,
        headings=False if no_headings else None,
    )


def picture_options(size: str | None, mode: str | None) -> dict[str, Any]:
    """The options of pictures that were given, by the contract's names."""
    from batchgrad.data.options import given
    from batchgrad.parsing.column_options import numbers

    return given(size=numbers("--size", size), mode=mode)
