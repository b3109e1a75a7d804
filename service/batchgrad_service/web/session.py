"""Who may see the page of a service that has a token: a cookie that says the token was shown."""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from batchgrad_service.problems import Forbidden

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Session:
    """The cookie for one token. It is derived from the token, so it ends when the token changes.

    Cookies know no ports: the name is the token's own too, or two services on one machine would
    log each other out.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._name = f"batchgrad-{self._derive('name')[:8]}"
        self._value = self._derive("session")

    def fits(self, token: str) -> bool:
        """Whether `token` is the service's."""
        return hmac.compare_digest(token.strip().encode(), self._token)

    def opens(self, cookies: str) -> bool:
        """Whether the Cookie header `cookies` has the session."""
        try:
            found = SimpleCookie(cookies).get(self._name)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._value.encode())

    def begin(self, response: Response, *, secure: bool) -> None:
        """Give the browser the cookie; no script and no other site can use it."""
        response.set_cookie(
            self._name, self._value, httponly=True, samesite="strict", secure=secure, path="/"
        )

    def end(self, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(self._name, httponly=True, samesite="strict", path="/")

    def _derive(self, purpose: str) -> str:
        return hmac.new(self._token, f"batchgrad {purpose}".encode(), hashlib.sha256).hexdigest()


def refuse_other_sites(method: str, headers: Headers) -> None:
    """Refuse what a page of another site makes a browser send (CSRF), with a token or without.

    Browsers say where a request comes from, by Sec-Fetch-Site or, without TLS and off this
    machine, by Origin. What says neither is no browser, and nobody can trick it.

    Raises:
        Forbidden: a request that could change something comes from another site.
    """
    if method in _SAFE:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in {"same-origin", "none"}:
        return
    if site is None and (origin is None or urlsplit(origin).netloc == headers.get("host")):
        return
    raise Forbidden(
        f"This {method} comes from another site ({(origin or site or '')[:100]}): only the "
        "service's own page, and programs, may change anything.",
        code="other_site",
    )
