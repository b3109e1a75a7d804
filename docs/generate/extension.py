"""Sphinx's extension: the directive `generated`, and the policy of the finished site."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from batchgrad_service.web.guide import POLICY_FILE
from docs.generate.commands import commands
from docs.generate.http import http
from docs.generate.policy import policy_of
from docs.generate.python import python
from docs.generate.spec import gradients, spec


class Generated(SphinxDirective):  # type: ignore[misc]
    """The Markdown that a generator of the reference returns, by the generator's name."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """The nodes of the text."""
        text = GENERATORS[self.arguments[0]]()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


GENERATORS: dict[str, Callable[[], str]] = {
    generator.__name__: generator for generator in (commands, gradients, http, python, spec)
}


def write_policy(app: Sphinx, exception: Exception | None) -> None:
    """Write the Content-Security-Policy that the finished site needs beside its pages."""
    if exception is None:
        site = Path(app.outdir)
        pages = [page.read_text(encoding="utf-8") for page in sorted(site.rglob("*.html"))]
        (site / POLICY_FILE).write_text(policy_of(pages), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("generated", Generated)
    app.connect("build-finished", write_policy)
    return {"parallel_read_safe": True}
