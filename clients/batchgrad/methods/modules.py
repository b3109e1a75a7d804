"""Submit a PyTorch module of this process with its data."""

import hashlib
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from batchgrad import timeouts
from batchgrad.contract import Job, JobSpec
from batchgrad.data.options import checked
from batchgrad.data.recognition import open_source
from batchgrad.data.source import Source
from batchgrad.errors import InvalidArgument
from batchgrad.http.uploads import no_progress
from batchgrad.methods.datasets import DatasetMethods
from batchgrad.methods.jobs import JobMethods

_HASH_BYTES = 2**20


class ModuleMethods(DatasetMethods, JobMethods):
    """Jobs from modules beside those from specs."""

    async def submit(
        self,
        /,
        spec: JobSpec | Mapping[str, Any] | Any,
        data: Any = None,
        *,
        loss: Any = None,
        code: str | Path | None = None,
        idempotency_key: str | None = None,
        **keys: Any,
    ) -> Job:
        """Create a job; the same key with the same spec returns the same job.

        `code` is a folder, a Python file, a wheel or a zip with the package that `model.torch`
        names: it is sent, and becomes the spec's `model.code`.

        Instead of a spec, a torch.nn.Module or a batchgrad.torch Task: then the module is sent,
        with its code and its values, and `data`: the name of a dataset, or what `put_dataset`
        takes, such as (inputs, targets) or {name: array}, which is stored under a name made of its
        content. `loss` is what `batchgrad.torch.task` takes; a Task has its own. `keys` are the
        spec's other keys: batch_size, optimizer, epochs or steps, …, and autocast of `model`;
        name and precision have defaults. A service must allow uploaded code.

            client.submit(module, (inputs, targets), loss="cross_entropy", batch_size=128,
                          optimizer={"kind": "adam", "learning_rate": 0.001}, epochs=5)
        """
        if not _is_module(spec):
            given = {"data": data, "loss": loss}
            beside = [*(name for name, value in given.items() if value is not None), *keys]
            if beside and isinstance(spec, JobSpec | Mapping):
                raise InvalidArgument(
                    f"got {', '.join(beside)} beside a spec: they go with a torch.nn.Module; put "
                    "what the job needs into the spec."
                )
            return await super().submit(spec, code=code, idempotency_key=idempotency_key)
        if code is not None:
            raise InvalidArgument(
                "code goes with a spec: the code of a module is packed with it. Import modules "
                "from the working folder or the script's, or install them where the service runs."
            )
        submitting = import_module("batchgrad.torch.submitting")  # it needs torch, and clients
        made = await self._session.call(lambda: submitting.job_of(spec, loss, keys))
        checked({**made.spec, "dataset": data if isinstance(data, str) else "data"}, JobSpec)
        dataset = await self._stored(data)
        sent = {
            name: await self._uploaded(
                Source(BytesIO(content), name),
                timeout=timeouts.LONG_REQUEST,
                on_progress=no_progress,
            )
            for name, content in (("code", made.archive), ("parameters", made.parameters))
        }
        body = {
            **made.spec,
            "dataset": dataset,
            "model": {**made.spec["model"], "code": sent["code"]},
            "initial_parameters": {"digest": sent["parameters"]},
        }
        return await super().submit(body, idempotency_key=idempotency_key)

    async def _stored(self, data: Any) -> str:
        """The name of a dataset with `data`, which is stored unless it is a name."""
        if isinstance(data, str):
            return data
        if data is None:
            raise InvalidArgument(
                "data is required with a module: the name of a dataset, or (inputs, targets), or "
                "{name: array}."
            )
        name = await self._session.call(lambda: _name_of(data))
        return (await self.put_dataset(name, data)).name


def _is_module(value: Any) -> bool:
    """Whether it is a module of torch, a class of one, or a task; without torch none can be."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    module, task = torch.nn.Module, import_module("batchgrad.torch.tasks").Task
    of_class = isinstance(value, type) and issubclass(value, module)
    return of_class or isinstance(value, module | task)


def _name_of(data: Any) -> str:
    """A name made of the content of `data`."""
    sha = hashlib.sha256()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(data))
        at = 0
        while piece := source.read(at, _HASH_BYTES):
            sha.update(piece)
            at += len(piece)
    return f"data-{sha.hexdigest()[:16]}"
