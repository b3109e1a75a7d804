"""Lists that the service sends page by page."""

from collections.abc import AsyncGenerator
from typing import TypeVar

from batchgrad.contract import Ledger, LedgerEntry, Page
from batchgrad.contract.wire import Answer
from batchgrad.http.responses import decode
from batchgrad.http.session import Params, Session

LEDGER_PAGE = 1000
"""Rows of a ledger that the service sends at once."""

Item = TypeVar("Item", bound=Answer)


async def pages(
    session: Session, kind: type[Page[Item]], path: str, params: Params
) -> AsyncGenerator[Item]:
    """The items of all pages, each page fetched when it is needed."""
    after: str | None = None
    while True:
        query = params if after is None else {**params, "after": after}
        page = decode(kind, await session.send("GET", path, params=query))
        for item in page.data:
            yield item
        if page.next is None:
            return
        after = page.next


async def ledger(session: Session, path: str, params: Params, limit: int | None) -> Ledger:
    """The first `limit` rows of a ledger, or all of them, as one page."""
    data: list[LedgerEntry] = []
    after: str | None = None
    while True:
        rows = LEDGER_PAGE if limit is None else min(LEDGER_PAGE, limit - len(data))
        query: Params = {**params, "limit": rows, "after": after}
        page = decode(Ledger, await session.send("GET", path, params=query))
        data += page.data
        after = page.next
        if after is None or len(data) == limit:
            return page.model_copy(update={"data": data})
