"""Read the form that a browser posts, with limits on its fields and time."""

import asyncio
from urllib.parse import parse_qsl

from fastapi import Request

from batchgrad_service.problems import BadRequestError

MAX_FIELDS = 16
TIMEOUT_SECONDS = 20.0
"""How long the body may take to arrive."""


async def form_fields(request: Request, seconds: float = TIMEOUT_SECONDS) -> dict[str, str]:
    """The fields by name; the first of several with the same name.

    AccessMiddleware limits the body's length.

    Raises:
        BadRequestError: more than MAX_FIELDS fields, or the body takes more than `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            body = await request.body()
    except TimeoutError:
        raise BadRequestError(
            f"The form did not arrive within {seconds:g} s: send it again.",
            headers={"Connection": "close"},
        ) from None
    try:
        pairs = parse_qsl(
            body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise BadRequestError(
            f"The form has more than {MAX_FIELDS} fields: send only the fields of the page."
        ) from None
    return dict(reversed(pairs))
