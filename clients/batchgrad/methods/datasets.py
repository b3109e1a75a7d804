"""Store, read and delete datasets."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

from batchgrad import timeouts
from batchgrad.contract import ColumnKind, Dataset, DateRule, FileFormat, MissingRule, Page
from batchgrad.data.options import SMALL_BYTES, given, import_request, imported, is_small_npz
from batchgrad.data.padding import Pad
from batchgrad.data.recognition import open_padded, open_source
from batchgrad.data.source import Source
from batchgrad.http.pages import pages
from batchgrad.http.requests import dataset_path
from batchgrad.http.responses import decode
from batchgrad.http.uploads import OnProgress, no_progress
from batchgrad.methods.operations import OperationMethods
from batchgrad.parsing import arguments


class DatasetMethods(OperationMethods):
    """The requests for datasets."""

    async def put_dataset(
        self,
        name: str,
        data: Any,
        *,
        target: str | Sequence[str] | None = None,
        target_kind: Literal["classes", "numbers"] | None = None,
        weight: str | None = None,
        id: str | None = None,  # noqa: A002 (what the contract calls it too)
        units: str | None = None,
        split: str | None = None,
        drop: Sequence[str] | None = None,
        kinds: Mapping[str, ColumnKind] | None = None,
        missing: MissingRule | Mapping[str, MissingRule] | None = None,
        constant: float | None = None,
        missing_target: Literal["refuse", "drop"] | None = None,
        dates: DateRule | None = None,
        max_categories: int | None = None,
        rare: int | None = None,
        format: FileFormat | None = None,  # noqa: A002
        delimiter: str | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        headings: bool | None = None,
        gaps: Sequence[str] | None = None,
        day_first: bool | None = None,
        size: tuple[int, int] | None = None,
        mode: Literal["rgb", "gray"] | None = None,
        pad: Pad = False,
        replace: bool = False,
        dry_run: bool = False,
        on_progress: OnProgress = no_progress,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Dataset:
        """Store data under a name.

        `data` is a path (CSV, TSV, JSON lines, Parquet, Arrow, npz, a folder of pictures with a
        folder for each class, or of .npy files), a pair of paths of .npy files, a data frame of
        pandas or polars, an Arrow table, a scikit-learn bunch, a Hugging Face dataset, arrays or
        tensors (inputs, targets) or {name: array}, or the bytes of an npz.

        A network of layers is trained on arrays `inputs` and `targets`, a PyTorch model on arrays
        (n, …) of any names; `weights` and `units` keep their meaning. With `pad`, rows of
        different lengths, as a tokenizer gives them, are padded at their ends to each array's
        longest row: with 0, `labels` with -100, or with the values that `pad` names, as in
        {"input_ids": tokenizer.pad_token_id}. If there are `input_ids` and no `attention_mask`,
        it is added, with 1 for each of a row's own ids.

        The columns of a table are inputs, but for `target`, what is to be predicted, `weight`,
        `id`, `units` (whose rows belong together), `split` (which rows are for validation or
        test), and those to `drop`. The fields of `TableOptions`, `TextOptions` and
        `PictureOptions` describe all options.

        The file is sent in pieces. If the connection breaks, it goes on, in a later call too:
        the service keeps what it has for a day. `on_progress` is called with "hash" or "send" and
        bytes, or "read" and rows: how many are done, and of how many, None if that is not known.
        `timeout` is for the answer to each request, and for the service to read the whole file.

        The same content again changes nothing; other content is a Conflict without `replace`.
        With `dry_run` nothing is stored, and the result says what would be.
        """
        path = dataset_path(name)
        timeout = arguments.timeout("timeout", timeout)
        arguments.function("on_progress", on_progress)
        options: dict[str, Any] = {
            "table": given(
                target=target,
                target_kind=target_kind,
                weight=weight,
                id=id,
                units=units,
                split=split,
                drop=drop,
                kinds=kinds,
                missing=missing,
                constant=constant,
                missing_target=missing_target,
                dates=dates,
                max_categories=max_categories,
                rare=rare,
            ),
            "file": given(
                format=format,
                text=given(
                    delimiter=delimiter,
                    decimal=decimal,
                    encoding=encoding,
                    headings=headings,
                    gaps=gaps,
                    day_first=day_first,
                ),
                pictures=given(size=size, mode=mode),
            ),
            "replace": replace,
            "dry_run": dry_run,
        }
        with ExitStack() as stack:
            opened = partial(open_padded, data, pad) if pad else partial(open_source, data)
            source = await self._session.call(lambda: stack.enter_context(opened()))
            body = import_request(source, **options)
            if is_small_npz(source, body):
                return await self._put_npz(path, source, replace=replace, timeout=timeout)
            digest = await self._uploaded(source, timeout=timeout, on_progress=on_progress)
            body["file"]["upload"] = digest
        operation = await self._operated(
            "PUT", path, body, timeout=timeout, on_progress=on_progress
        )
        return imported(operation)

    async def _put_npz(
        self, path: str, source: Source, *, replace: bool, timeout: float | None
    ) -> Dataset:
        """Store a small npz by one request."""
        response = await self._session.send(
            "PUT",
            path,
            params={"replace": "true" if replace else None},
            body=source.read(0, SMALL_BYTES),
            headers={"Content-Type": "application/x-npz"},
            timeout=timeout,
        )
        return decode(Dataset, response)

    async def put_arrays(
        self,
        name: str,
        inputs: Any,
        targets: Any,
        weights: Any = None,
        *,
        units: Any = None,
        replace: bool = False,
        on_progress: OnProgress = no_progress,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Dataset:
        """Store arrays as a dataset: inputs (n, …), targets (n,) or (n, out), weights (n,).

        `units` (n,) are integers: rows with the same one belong together. Tensors of torch, and
        whatever numpy can convert, are arrays too.
        """
        arrays = given(weights=weights, units=units)
        return await self.put_dataset(
            name,
            {"inputs": inputs, "targets": targets, **arrays},
            replace=replace,
            on_progress=on_progress,
            timeout=timeout,
        )

    async def dataset(self, name: str) -> Dataset:
        """A dataset's shape, kind and digest."""
        return decode(Dataset, await self._session.send("GET", dataset_path(name)))

    def datasets(self) -> AsyncIterator[Dataset]:
        """All datasets, fetched page by page."""
        return pages(self._session, Page[Dataset], "/v1/datasets", {})

    async def set_privacy_budget(self, name: str, epsilon: float | None) -> Dataset:
        """Limit the ε that private jobs may spend on a dataset's content, all together.

        Jobs beyond it are refused. It holds for other names of the same content too; None removes
        it. What was spent stays counted.
        """
        path = f"{dataset_path(name)}/privacy-budget"
        if epsilon is None:
            await self._session.send("DELETE", path)
            return await self.dataset(name)
        body = {"epsilon": arguments.positive("epsilon", epsilon)}
        return decode(Dataset, await self._session.send_json("PUT", path, body))

    async def delete_dataset(self, name: str) -> None:
        """Delete a dataset; Conflict while a job uses it."""
        await self._session.send("DELETE", dataset_path(name))
