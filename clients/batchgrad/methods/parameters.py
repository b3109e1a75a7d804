"""Download trained parameters."""

from importlib import import_module
from pathlib import Path

from batchgrad import timeouts
from batchgrad.contract import Kept, Precision
from batchgrad.downloads.onnx import to_onnx
from batchgrad.files import (
    DownloadFormat,
    ParametersFormat,
    check_target,
    parameters_format,
    write_atomically,
)
from batchgrad.http.requests import job_path
from batchgrad.http.responses import warn
from batchgrad.http.session import Params
from batchgrad.methods.base import BaseMethods
from batchgrad.parsing import arguments


class ParametersMethods(BaseMethods):
    """Trained parameters, as bytes or as a file."""

    async def parameters(
        self,
        job_id: str,
        *,
        format: ParametersFormat = "safetensors",  # noqa: A002 (what the query calls it too)
        which: Kept | None = None,
        step: int | None = None,
        fold: bool = False,
        precision: Precision | None = None,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> bytes:
        """Trained parameters: those that the job keeps, or `which`, or those after `step` steps.

        `fold` folds the standardization of inputs into the first layer, so that the network takes
        raw inputs; raises InvalidRequest if that layer cannot, or not in this `precision` (default
        the job's): where means are many deviations from 0, only float64 is precise enough. If the
        newest checkpoint is damaged, returns the previous one's, with a UserWarning.
        """
        params: Params = {
            "format": arguments.text("format", format),
            "which": arguments.optional(arguments.text, "which", which),
            "step": arguments.optional(arguments.whole, "step", step),
            "fold": "true" if arguments.truth("fold", fold) else None,
            "precision": arguments.optional(arguments.text, "precision", precision),
        }
        answer = await self._session.send(
            "GET",
            f"{job_path(job_id)}/parameters",
            params=params,
            headers={"Accept": "*/*"},
            timeout=arguments.timeout("timeout", timeout),
        )
        warn(answer)
        return answer.content

    async def download(
        self,
        job_id: str,
        path: str | Path,
        *,
        format: DownloadFormat | None = None,  # noqa: A002
        which: Kept | None = None,
        step: int | None = None,
        fold: bool = False,
        precision: Precision | None = None,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Path:
        """Write the parameters to a file, in the format of its name; `format` overrides the name.

        .safetensors and .npz hold parameters, .onnx and .pt2 (of torch.export) the whole network,
        which takes raw arrays, or encoded rows of a table; Unavailable if onnx or torch is not
        installed. Replaces a file of parameters; raises FileFailed for any other existing file.
        """
        target = arguments.path("path", path)
        kind = format or parameters_format(target)
        check_target(target)
        content = await self.parameters(
            job_id,
            format="npz" if kind == "npz" else "safetensors",
            which=which,
            step=step,
            fold=fold,
            precision=precision,
            timeout=timeout,
        )
        write_atomically(target, _converted(kind, content))
        return target


def _converted(kind: DownloadFormat, content: bytes) -> bytes:
    """The file of this format, from what the service sent for it."""
    if kind == "onnx":
        return to_onnx(content)
    if kind != "torch":
        return content
    exported: bytes = import_module("batchgrad.torch").exported(content)  # which imports clients
    return exported
