"""Check the access token, and the cookies of browsers that logged in with it."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.responses import Response

from batchgrad_service.http.login_throttle import LoginThrottle

LOGIN_SECONDS = 7 * 24 * 3600
MAX_LOGINS = 1000


class Authenticator:
    """The token, and the logins of browsers, each with a cookie of its own.

    A login ends when its browser logs out, after `LOGIN_SECONDS`, when the service stops, and when
    `MAX_LOGINS` newer ones exist. Only hashes of cookies are kept.

    Cookies do not distinguish ports. So the cookie's name depends on the token: otherwise two
    services on one machine would log each other out.
    """

    def __init__(
        self,
        token: str,
        *,
        throttle: LoginThrottle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token.encode()
        self._throttle = throttle or LoginThrottle()
        self._clock = clock
        name = hmac.new(self._token, b"batchgrad name", hashlib.sha256).hexdigest()
        self._cookie_name = f"batchgrad-{name[:8]}"
        self._end_times: dict[bytes, float] = {}  # by the cookie's hash, the oldest first

    def token_matches(self, token: str, client: str) -> bool:
        """Whether `token`, sent from the address `client`, is the service's.

        Raises:
            TooManyAttemptsError: too many wrong tokens came from the address.
        """
        right = hmac.compare_digest(token.strip().encode(), self._token)
        return self._throttle.check(client, right=right)

    def is_logged_in(self, cookies: str) -> bool:
        """Whether the Cookie header `cookies` has the cookie of a login that has not ended."""
        cookie = self._cookie_hash(cookies)
        return cookie is not None and self._clock() < self._end_times.get(cookie, 0)

    def log_in(self, response: Response, *, secure: bool) -> None:
        """Give the browser a cookie that scripts and other sites cannot use."""
        value = secrets.token_hex(32)
        while len(self._end_times) >= MAX_LOGINS:
            del self._end_times[next(iter(self._end_times))]
        self._end_times[_hash(value)] = self._clock() + LOGIN_SECONDS
        response.set_cookie(
            self._cookie_name,
            value,
            max_age=LOGIN_SECONDS,
            httponly=True,
            samesite="strict",
            secure=secure,
            path=None,  # the browser's default is the login's folder: below a proxy's prefix
        )

    def log_out(self, cookies: str, response: Response) -> None:
        """End the login of the Cookie header `cookies`, and delete the cookie."""
        cookie = self._cookie_hash(cookies)
        if cookie is not None:
            self._end_times.pop(cookie, None)
        response.set_cookie(
            self._cookie_name, max_age=0, expires=0, httponly=True, samesite="strict", path=None
        )

    def _cookie_hash(self, cookies: str) -> bytes | None:
        if self._cookie_name not in cookies:
            return None
        try:
            found = SimpleCookie(cookies).get(self._cookie_name)
        except CookieError:
            return None
        return None if found is None else _hash(found.value)


def _hash(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
