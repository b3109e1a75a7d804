"""Store, read and delete datasets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from batchgrad import timeouts
from batchgrad.contract import Dataset, Page
from batchgrad.files import npz_content
from batchgrad.http.npz import npz_bytes
from batchgrad.http.pages import pages
from batchgrad.http.requests import dataset_path
from batchgrad.http.responses import decode
from batchgrad.methods.base import BaseMethods
from batchgrad.parsing import arguments


class DatasetMethods(BaseMethods):
    """The requests for datasets."""

    async def put_dataset(
        self,
        name: str,
        content: str | Path | bytes | bytearray | memoryview,
        *,
        replace: bool = False,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Dataset:
        """Store an npz (a path or its bytes: inputs, targets, optional weights) under a name.

        The same content again changes nothing; other content is a Conflict without `replace`.
        """
        response = await self._session.send(
            "PUT",
            dataset_path(name),
            params={"replace": "true" if replace else None},
            body=npz_content(content),
            headers={"Content-Type": "application/x-npz"},
            timeout=arguments.timeout("timeout", timeout),
        )
        return decode(Dataset, response)

    async def put_arrays(
        self,
        name: str,
        inputs: Any,
        targets: Any,
        weights: Any = None,
        *,
        replace: bool = False,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Dataset:
        """Store arrays as a dataset: inputs (n, …), targets (n,) or (n, out), weights (n,)."""
        content = npz_bytes(inputs, targets, weights)
        return await self.put_dataset(name, content, replace=replace, timeout=timeout)

    async def dataset(self, name: str) -> Dataset:
        """A dataset's shape, kind and digest."""
        return decode(Dataset, await self._session.send("GET", dataset_path(name)))

    def datasets(self) -> AsyncIterator[Dataset]:
        """All datasets, fetched page by page."""
        return pages(self._session, Page[Dataset], "/v1/datasets", {})

    async def delete_dataset(self, name: str) -> None:
        """Delete a dataset; Conflict while a job uses it."""
        await self._session.send("DELETE", dataset_path(name))
