"""The fields of a form that a browser posts: few, short, and soon there."""

import asyncio
from urllib.parse import parse_qsl

from fastapi import Request

from batchgrad_service.problems import BadRequestError

MOST_FIELDS = 16
SECONDS = 20.0
"""How long the body of a form may take to arrive."""


async def form_fields(request: Request, seconds: float = SECONDS) -> dict[str, str]:
    """The fields by name; of several with one name the first. The edge bounds the body's length.

    Raises:
        BadRequestError: more than MOST_FIELDS fields, or the body takes longer than `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            body = await request.body()
    except TimeoutError:
        raise BadRequestError(
            f"The form took longer than {seconds:g} s to arrive: send it again.",
            headers={"Connection": "close"},
        ) from None
    try:
        pairs = parse_qsl(
            body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise BadRequestError(
            f"The form has more than {MOST_FIELDS} fields; send those of the page."
        ) from None
    return dict(reversed(pairs))
