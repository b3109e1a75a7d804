"""The Content-Security-Policy of the built site: its own files, and its inline code by hashes."""

import base64
import hashlib
from collections.abc import Iterable
from html.parser import HTMLParser


def policy_of(pages: Iterable[str]) -> str:
    """The policy that allows what `pages` (HTML) contain, and nothing from another host.

    Raises ValueError for an event handler in an attribute, and for a file of another host.
    """
    found = _Inline()
    for page in pages:
        found.feed(page)
        found.close()
        found.reset()
    scripts, styles = (
        " ".join(sorted(map(_source, code))) for code in (found.scripts, found.styles)
    )
    return (
        f"default-src 'self'; script-src 'self' {scripts}; "
        f"style-src 'self' 'unsafe-hashes' {styles}; img-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _source(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


class _Inline(HTMLParser):
    """Collects inline scripts, style sheets and style attributes.

    'unsafe-hashes' is what a hash needs to allow a style attribute.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: set[str] = set()
        self.styles: set[str] = set()
        self._open: set[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for name, value in values.items():
            if name.startswith("on"):
                raise ValueError(f"<{tag} {name}={value!r}>: a policy cannot allow event handlers.")
        fetched = values.get("src") or (values.get("href") if tag == "link" else None) or ""
        if "//" in fetched:
            raise ValueError(f"<{tag}> fetches {fetched}: the guide must need no other host.")
        if style := values.get("style"):
            self.styles.add(style)
        if tag == "style":
            self._open = self.styles
        elif tag == "script" and "src" not in values:
            self._open = self.scripts

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.add(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"}:
            self._open = None
