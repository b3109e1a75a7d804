"""Predict and evaluate with a job's parameters."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from batchgrad import timeouts
from batchgrad.contract import (
    Evaluation,
    EvaluationRequest,
    FileFormat,
    Kept,
    Operation,
    PictureOptions,
    PredictionRequest,
    Predictions,
    RowSet,
    TextOptions,
)
from batchgrad.contract.operations import NO_DIGEST
from batchgrad.data.examples import few_examples, open_examples
from batchgrad.data.options import checked, given
from batchgrad.data.results import prediction_format, predictions_of
from batchgrad.errors import InvalidArgument, UnexpectedAnswer
from batchgrad.files import check_new_file, new_file
from batchgrad.http.requests import job_path
from batchgrad.http.responses import decode
from batchgrad.http.results import result_pieces
from batchgrad.http.uploads import OnProgress, no_progress
from batchgrad.methods.operations import OperationMethods
from batchgrad.parsing import arguments
from batchgrad.user_warnings import warn_user


class PredictionMethods(OperationMethods):
    """What a job's parameters say of examples."""

    async def predict(
        self,
        job_id: str,
        data: Any = None,
        *,
        dataset: str | None = None,
        which: Kept | None = None,
        format: FileFormat | None = None,  # noqa: A002 (what the contract calls it too)
        text: TextOptions | Mapping[str, Any] | None = None,
        pictures: PictureOptions | Mapping[str, Any] | None = None,
        on_progress: OnProgress = no_progress,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Predictions:
        """Predict `data`, or a `dataset` of the service, by the parameters that the job keeps.

        `data` are raw rows, to which the job's own encoding is applied: [{column: value}], inputs
        (n, …), or whatever `put_dataset` takes, with or without targets. `which` is "best" or
        "last". `format`, `text` and `pictures` say how a file is to be read.
        """
        path = f"{job_path(job_id)}/predictions"
        timeout = arguments.timeout("timeout", timeout)
        arguments.function("on_progress", on_progress)
        few = None if dataset is not None else few_examples(data)
        if few is not None:
            body = checked({**few, **given(which=which)}, PredictionRequest)
            answer = await self._session.send_json("POST", path, body, timeout=timeout)
            found = decode(Predictions, answer)
            for warning in found.warnings:
                warn_user(warning)
            return found
        body = await self._body(
            given(data=data, dataset=dataset, which=which),
            given(format=format, text=text, pictures=pictures),
            {"format": "jsonl"},
            timeout=timeout,
            on_progress=on_progress,
        )
        operation = await self._done(path, body, timeout=timeout, on_progress=on_progress)
        pieces = [one async for one in result_pieces(self._session, operation, timeout=timeout)]
        await self.cancel_operation(operation.id)  # its file is not needed any longer
        return predictions_of(b"".join(pieces), operation)

    async def predict_to(
        self,
        job_id: str,
        path: str | Path,
        data: Any = None,
        *,
        dataset: str | None = None,
        which: Kept | None = None,
        format: FileFormat | None = None,  # noqa: A002
        text: TextOptions | Mapping[str, Any] | None = None,
        pictures: PictureOptions | Mapping[str, Any] | None = None,
        replace: bool = False,
        on_progress: OnProgress = no_progress,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Path:
        """Write predictions to a file: .csv, .jsonl, .parquet or .npz, by the name of `path`.

        It has a column `prediction` and a column `probability_CLASS` for each class, or the
        numbers; before them the dataset's id column, if there is one. It is complete when it
        appears. An existing file is refused without `replace`. The other arguments are those of
        `predict`.
        """
        replace = arguments.truth("replace", replace)
        target = arguments.path("path", path)
        options = {"format": prediction_format(target)}
        timeout = arguments.timeout("timeout", timeout)
        arguments.function("on_progress", on_progress)
        where = f"{job_path(job_id)}/predictions"
        check_new_file(target, replace=replace)
        body = await self._body(
            given(data=data, dataset=dataset, which=which),
            given(format=format, text=text, pictures=pictures),
            options,
            timeout=timeout,
            on_progress=on_progress,
        )
        operation = await self._done(where, body, timeout=timeout, on_progress=on_progress)
        with new_file(target) as file:
            async for piece in result_pieces(self._session, operation, timeout=timeout):
                file.write(piece)
        await self.cancel_operation(operation.id)
        return target

    async def evaluate(
        self,
        job_id: str,
        data: Any = None,
        *,
        dataset: str | None = None,
        set: RowSet | None = None,  # noqa: A002 (what the contract calls it too)
        which: Kept | None = None,
        format: FileFormat | None = None,  # noqa: A002
        text: TextOptions | Mapping[str, Any] | None = None,
        pictures: PictureOptions | Mapping[str, Any] | None = None,
        on_progress: OnProgress = no_progress,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Evaluation:
        """Loss, accuracy, confusion and AUC, or R² and RMSE, on examples with targets.

        These are `data`, a `dataset` of the service, or the `set` training, validation or test of
        the job's own dataset. The other arguments are those of `predict`.
        """
        path = f"{job_path(job_id)}/evaluations"
        timeout = arguments.timeout("timeout", timeout)
        arguments.function("on_progress", on_progress)
        body = await self._body(
            given(data=data, dataset=dataset, set=set, which=which),
            given(format=format, text=text, pictures=pictures),
            {},
            timeout=timeout,
            on_progress=on_progress,
        )
        operation = await self._done(path, body, timeout=timeout, on_progress=on_progress)
        if operation.evaluation is None:
            raise UnexpectedAnswer(f"Operation {operation.id} has succeeded without figures.")
        return operation.evaluation

    async def _body(
        self,
        examples: dict[str, Any],
        reading: dict[str, Any],
        options: dict[str, Any],
        *,
        timeout: float | None,
        on_progress: OnProgress,
    ) -> dict[str, Any]:
        """The request's body, once the file of its data is sent."""
        request = PredictionRequest if options else EvaluationRequest
        named = [key for key in ("data", "dataset", "set") if key in examples]
        if len(named) != 1:
            keys = "data, dataset" if options else "data, dataset, set"
            raise InvalidArgument(
                f"got {' and '.join(named) or 'none'}: give exactly one of {keys}."
            )
        if "data" not in examples:
            return checked({**examples, **options}, request)
        data = examples.pop("data")
        with ExitStack() as stack:
            source = await self._session.call(lambda: stack.enter_context(open_examples(data)))
            file = {"name": source.name, **given(format=source.format), **reading}
            body = checked({"file": {"upload": NO_DIGEST, **file}, **examples, **options}, request)
            digest = await self._uploaded(source, timeout=timeout, on_progress=on_progress)
        return {**body, "file": {**body["file"], "upload": digest}}

    async def _done(
        self, path: str, body: Any, *, timeout: float | None, on_progress: OnProgress
    ) -> Operation:
        operation = await self._operated(
            "POST", path, body, timeout=timeout, on_progress=on_progress
        )
        for warning in operation.warnings:
            warn_user(warning)
        return operation
