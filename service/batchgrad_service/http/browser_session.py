"""Who may see the page of a service that has a token: a cookie that says the token was shown."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from batchgrad_service.http.hosts import Hosts
from batchgrad_service.http.token_guesses import Guesses
from batchgrad_service.problems import ForbiddenError

SESSION_SECONDS = 7 * 24 * 3600
MOST_SESSIONS = 1000

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Session:
    """The token, and the cookies that were given for it: one a login, until it ends.

    A cookie ends by logging out, after `SESSION_SECONDS`, with the service, and when
    `MOST_SESSIONS` newer ones were given. Only hashes of cookies are kept.

    Cookies know no ports: the name is the token's own, or two services on one machine would log
    each other out.
    """

    def __init__(
        self,
        token: str,
        *,
        guesses: Guesses | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token.encode()
        self._guesses = guesses or Guesses()
        self._clock = clock
        name = hmac.new(self._token, b"batchgrad name", hashlib.sha256).hexdigest()
        self._name = f"batchgrad-{name[:8]}"
        self._ends: dict[bytes, float] = {}  # by a cookie's hash, the oldest first

    def fits(self, token: str, client: str) -> bool:
        """Whether `token`, which came from the address `client`, is the service's.

        Raises:
            TooManyAttemptsError: too many wrong ones came from there.
        """
        right = hmac.compare_digest(token.strip().encode(), self._token)
        return self._guesses.judge(client, right=right)

    def opens(self, cookies: str) -> bool:
        """Whether the Cookie header `cookies` has a session that lasts."""
        given = self._given(cookies)
        return given is not None and self._clock() < self._ends.get(given, 0)

    def begin(self, response: Response, *, secure: bool) -> None:
        """Give the browser a cookie; no script and no other site can use it."""
        value = secrets.token_hex(32)
        while len(self._ends) >= MOST_SESSIONS:
            del self._ends[next(iter(self._ends))]
        self._ends[_hash(value)] = self._clock() + SESSION_SECONDS
        response.set_cookie(
            self._name,
            value,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=secure,
            path=None,  # by default where the login is: below the prefix of a proxy, if any
        )

    def end(self, cookies: str, response: Response) -> None:
        """The session in the Cookie header `cookies` opens nothing any more."""
        given = self._given(cookies)
        if given is not None:
            self._ends.pop(given, None)
        response.set_cookie(
            self._name, max_age=0, expires=0, httponly=True, samesite="strict", path=None
        )

    def _given(self, cookies: str) -> bytes | None:
        try:
            found = SimpleCookie(cookies).get(self._name)
        except CookieError:
            return None
        return None if found is None else _hash(found.value)


def _hash(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()


def refuse_other_sites(method: str, headers: Headers, hosts: Hosts) -> None:
    """Refuse what a page of another site makes a browser send (CSRF), with a token or without.

    Browsers say where a request comes from, by Sec-Fetch-Site or, without TLS and off this
    machine, by Origin. What says neither is no browser, and nobody can trick it. A proxy may have
    changed Host: then the page's own origin is one that names this service.

    Raises:
        ForbiddenError: a request that could change something comes from another site.
    """
    if method in _SAFE:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    of = _parts(origin or "")
    same = origin is None or of.netloc == headers.get("host")
    if same and site in {"same-origin", "none", None}:
        return
    if site == "same-origin" and hosts.names(of.hostname or ""):
        return
    raise ForbiddenError(
        f"This {method} comes from another site ({(origin or site or '')[:100]}): only the "
        "service's own page, and programs, may change anything.",
        code="other_site",
    )


def _parts(origin: str) -> SplitResult:
    """An Origin's parts, all empty where it is no URL."""
    try:
        return urlsplit(origin)
    except ValueError:  # brackets that hold no IPv6 address
        return urlsplit("")
