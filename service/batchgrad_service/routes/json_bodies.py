"""Read JSON bodies as spec files are read: a key that stands twice is a mistake."""

from collections.abc import Callable, Coroutine
from json import JSONDecodeError
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from batchgrad.documents import SyntaxFault, parse_json


class _JsonRequest(Request):
    async def json(self) -> Any:
        """The body's value; FastAPI tells of broken JSON, and lets only HTTPException through."""
        try:
            return parse_json(await self.body())
        except SyntaxFault as fault:
            if isinstance(fault.__cause__, JSONDecodeError):
                raise fault.__cause__ from None
            raise HTTPException(400, f"The body {fault}") from None


class JsonRoute(APIRoute):
    """A route whose JSON body has each key once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handled
