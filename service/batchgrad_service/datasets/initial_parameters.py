"""Stored initial parameters: files that are named by the SHA-256 of their bytes."""

import base64
import binascii
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, deserialize

from batchgrad.contract import (
    TERMINAL,
    Dataset,
    InitialParameters,
    JobModel,
    Kept,
    Model,
    Precision,
)
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint
from batchgrad_service.datasets.downloads import choose
from batchgrad_service.datasets.npz_parameters import as_safetensors
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.problems import InvalidError, NotFoundError
from batchgrad_service.store import Store
from batchgrad_service.validation.job_data import layers_shape
from batchgrad_service.validation.shapes import build_network
from batchgrad_workers.system.files import hex_of, new_name, remove_temporaries, write_atomically

_FLOATS = {"F32", "F64"}
_STATES = {*_FLOATS, "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"}
"""Of a PyTorch module's state, buffers included."""

_INPUT_BYTES = 1 << 10
"""For an input's mean and deviation, or its part of a table's encoding."""

_ROOM_BYTES = 1 << 20
"""For the headers of an npz's arrays."""


class Exporter(Protocol):
    """A function that makes a download from a checkpoint file."""

    def __call__(
        self,
        path: Path,
        fold_into: Model | None = None,
        *,
        which: Kept = "last",
        precision: Precision | None = None,
    ) -> bytes:
        """Return the parameters, with standardization folded into the first layer of a model."""


class StoredParameters:
    """Initial parameters below `data_dir`; `export` makes them from a checkpoint file."""

    def __init__(
        self, data_dir: Path, store: Store, export: Exporter, uploads: UploadedFiles
    ) -> None:
        """`uploads` has files that are too large for a request."""
        self._directory = data_dir / "parameters"
        self._jobs = data_dir / "jobs"
        self._store = store
        self._export = export
        self._uploads = uploads
        self._directory.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        """Held from `keep` until the job is stored, so that the file stays meanwhile."""

    def clean(self) -> None:
        """At the service's start, remove files that were not written completely."""
        remove_temporaries(self._directory)

    def path(self, digest: str) -> Path:
        """Return the path of the file with this digest."""
        return self._directory / f"{hex_of(digest)}.safetensors"

    def read(self, given: InitialParameters, model: JobModel, dataset: Dataset) -> bytes:
        """Return the bytes of the file that `given` refers to, checked against the model.

        Raises:
            InvalidError: it is not there, cannot be read, or does not fit.
        """
        pointer, content = self._read(given)
        if model.torch is not None:
            _check_state(pointer, content)
            return content
        if given.npz is not None:
            shape = layers_shape(dataset)
            most = 8 * build_network(model, shape).size + _INPUT_BYTES * prod(shape)
            content = as_safetensors(pointer, content, max_bytes=most + _ROOM_BYTES)
        _check_fit(pointer, content, model, dataset)
        return content

    def stored(self, digest: str) -> bytes | None:
        """Return the bytes of a stored file; None if no job starts from it any longer."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def keep(self, content: bytes) -> str:
        """Store a file; return its digest, "sha256:…"."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if not self.path(digest).exists():
            write_atomically(self.path(digest), content)
        return digest

    @contextmanager
    def temporary(self, content: bytes) -> Iterator[Path]:
        """A file with these bytes, during the block only."""
        path = self._directory / new_name()
        try:
            path.write_bytes(content)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def drop_unused(self, digest: str | None) -> None:
        """Remove a file if no job starts from it any longer."""
        with self.lock:
            if digest is not None and not self._store.parameters_in_use(digest):
                self.path(digest).unlink(missing_ok=True)

    def _read(self, given: InitialParameters) -> tuple[str, bytes]:
        if given.job is not None:
            return "/initial_parameters/job", self._of_job(given.job)
        if given.digest is not None:
            pointer = "/initial_parameters/digest"
            try:
                return pointer, self.path(given.digest).read_bytes()
            except FileNotFoundError:
                return pointer, self._uploaded(pointer, given.digest)
        kind = "safetensors" if given.npz is None else "npz"
        pointer = f"/initial_parameters/{kind}"
        try:
            return pointer, base64.b64decode(given.safetensors or given.npz or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidError.field(
                pointer, f"Not base64 ({error}): send a {kind} file's bytes in base64."
            ) from None

    def _uploaded(self, pointer: str, digest: str) -> bytes:
        try:
            with self._uploads.using(digest, pointer) as path:
                return path.read_bytes()
        except InvalidError as error:
            if error.code != "upload_not_found":
                raise
            raise InvalidError.field(
                pointer,
                f"No stored parameters and no upload have the digest {digest}: send the file "
                "itself as safetensors, upload it, or name a job.",
            ) from None

    def _of_job(self, job_id: str) -> bytes:
        pointer = "/initial_parameters/job"
        try:
            kept = self._store.checkpoints(job_id)
        except NotFoundError:
            raise InvalidError.field(
                pointer, f"There is no job {job_id!r:.100}; GET /v1/jobs lists all jobs."
            ) from None
        if not kept:
            ended = self._store.job(job_id).status in TERMINAL
            lacks = (
                "ended without a checkpoint:"
                if ended
                else "has no checkpoint yet: wait for one, or"
            )
            raise InvalidError.field(pointer, f"Job {job_id} {lacks} start from a seed.")
        chosen = choose(job_id, kept)
        try:
            return self._export(self._jobs / job_id / chosen.file, which=chosen.which)
        except BadCheckpoint as bad:
            raise InvalidError.field(
                pointer,
                f"{bad} Download those of an older checkpoint of job {job_id}, and start from "
                "that file.",
            ) from None


def _check_state(pointer: str, content: bytes) -> None:
    """Check that a file holds tensors that numpy knows; the preflight compares their names."""
    for name, tensor in _tensors(pointer, content).items():
        if tensor["dtype"] not in _STATES:
            raise InvalidError.field(
                pointer,
                f"{name} is {tensor['dtype']}; expected one of {', '.join(sorted(_STATES))}: save "
                "tensor.float() instead.",
            )


def _tensors(pointer: str, content: bytes) -> dict[str, Any]:
    try:
        return dict(deserialize(content))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise InvalidError.field(
            pointer,
            f"Not a safetensors file ({error}): safetensors.numpy.save or safetensors.torch.save "
            "makes one.",
        ) from None


def _check_fit(pointer: str, content: bytes, model: Model, dataset: Dataset) -> None:
    expected = {
        each.name: tuple(each.shape) for each in build_network(model, layers_shape(dataset)).slices
    }
    tensors = _tensors(pointer, content)
    got = {name: tuple(tensor["shape"]) for name, tensor in tensors.items()}
    for name, shape in expected.items():
        if got.get(name) != shape:
            found = f"{name} {list(got[name])}" if name in got else f"no {name}"
            raise InvalidError.field(
                pointer,
                f"The file has {found:.200}; this model needs {name} {list(shape)}: use the file "
                "of a model with the same layers.",
            )
        if tensors[name]["dtype"] not in _FLOATS:
            raise InvalidError.field(
                pointer, f"{name} is {tensors[name]['dtype']}; expected one of {sorted(_FLOATS)}."
            )
    surplus = sorted(got.keys() - expected.keys())
    if surplus:
        raise InvalidError.field(
            pointer,
            f"The file has {surplus[0]!r:.100}, which this model does not have: use the file of a "
            "model with the same layers.",
        )
