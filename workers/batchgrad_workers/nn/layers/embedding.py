"""Embedding: a row of the weight for every id, as a linear layer on one-hot rows.

Inputs are ids (n, …), integers. Ids have no mean, so a mean input is the mean of one-hot rows
(…, ids), floats. Methods accept both.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers, Shape
from batchgrad_workers.nn.chunks import chunks
from batchgrad_workers.nn.kernels.norms import RUN, squared
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters, by_example
from batchgrad_workers.nn.layers.bounds import Bounded, enclosed, roundoff


@dataclass(frozen=True)
class Embedding(BaseLayer):
    """z_nt = W[a_nt]; with `padding_idx`, that row has no gradient."""

    input_shape: Shape
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None

    @property
    def mean_shape(self) -> Shape:
        return (*self.input_shape, self.num_embeddings)

    @property
    def output_shape(self) -> Shape:
        return (*self.input_shape, self.embedding_dim)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    @property
    def workspace(self) -> int:
        return 0

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Standard normal, the padding row 0 (torch.nn.Embedding.reset_parameters)."""
        weight = random.standard_normal((self.num_embeddings, self.embedding_dim))
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        return {"weight": weight}

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """W[a_nt]; of one-hot rows Σ_i a_nti W_io."""
        if _are_ids(inputs):
            return parameters["weight"][_ids(inputs)]
        return inputs @ parameters["weight"]

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Σ_o δ_nto W_io, the error at one-hot rows; ids have none."""
        del inputs, outputs
        return error @ parameters["weight"].T

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, out: Parameters) -> Floats:
        """Positions with the same id are added before squares are taken."""
        if _are_ids(inputs):
            self._write_sum(inputs, error, weights, out["weight"])
            return self._squared_norms(inputs, error)
        rows = by_example(weights, error).reshape(-1, self.embedding_dim)
        np.matmul(inputs.reshape(-1, self.num_embeddings).T, rows, out=out["weight"])
        self._clear_padding(out["weight"])
        each = self.each_gradient(inputs, error)["weight"]
        return squared(each.reshape(len(each), -1))

    def bounded(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        """From ids; a unit's are those of one long text."""
        weighted = error if rows == 1 else by_example(weights, error)
        long = (len(error) // rows, -1)
        squares = self._squared_norms(_ids(inputs).reshape(long), weighted.reshape(long))
        each = squared(np.ascontiguousarray(weighted).reshape(-1, self.embedding_dim))
        lengths = np.sqrt(each).reshape(long)
        terms = 2 * (lengths.shape[1] + 4) * roundoff(error.dtype)

        def write(factors: Array, out: Parameters) -> None:
            self._write_sum(inputs, error, factors, out["weight"])

        return Bounded(enclosed(squares, lengths.sum(axis=1), terms), write)

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """Row i: Σ_t δ_nt of the positions with id i."""
        found = np.zeros((len(inputs), self.num_embeddings, self.embedding_dim), error.dtype)
        rows = error.reshape(len(inputs), -1, self.embedding_dim)
        if _are_ids(inputs):
            ids = _ids(inputs).reshape(len(inputs), -1)
            own = np.arange(len(ids))[:, None] * self.num_embeddings + ids
            add_rows(
                found.reshape(-1, self.embedding_dim),
                own.reshape(-1),
                rows.reshape(-1, self.embedding_dim),
            )
        else:
            one_hot = inputs.reshape(len(inputs), -1, self.num_embeddings)
            np.matmul(one_hot.transpose(0, 2, 1), rows, out=found)
        for each in found:
            self._clear_padding(each)
        return {"weight": found}

    def input_sum(self, inputs: Array, weights: Array, out: Array) -> None:
        """Σ_n w_n over the examples with an id at a position, (…, ids)."""
        flat = out.reshape(-1, self.num_embeddings)
        flat[...] = 0
        ids = _ids(inputs).reshape(len(inputs), -1)
        np.add.at(flat, (np.arange(ids.shape[1]), ids), weights[:, None])

    def _write_sum(self, inputs: Array, error: Array, weights: Array, total: Array) -> None:
        total[...] = 0
        rows = by_example(weights, error).reshape(-1, self.embedding_dim)
        add_rows(total, _ids(inputs).reshape(-1), rows)
        self._clear_padding(total)

    def _squared_norms(self, inputs: Any, error: Array) -> Floats:
        ids = _ids(inputs).reshape(len(inputs), -1)
        rows = error.reshape(*ids.shape, self.embedding_dim)
        norms = np.zeros(len(inputs))
        for run in chunks(len(inputs), 2 * prod(rows.shape[1:]) * error.itemsize):
            own = np.arange(len(ids[run]))[:, None]
            pairs, inverse = np.unique(own * self.num_embeddings + ids[run], return_inverse=True)
            sums = np.zeros((len(pairs), self.embedding_dim), error.dtype)
            add_rows(sums, inverse.reshape(-1), rows[run].reshape(-1, self.embedding_dim))
            if self.padding_idx is not None:
                sums[pairs % self.num_embeddings == self.padding_idx] = 0
            np.add.at(norms[run], pairs // self.num_embeddings, squared(sums))
        return norms

    def _clear_padding(self, gradient: Array) -> None:
        if self.padding_idx is not None:
            gradient[self.padding_idx] = 0


def add_rows(out: Array, indices: Integers, rows: Array) -> None:
    """Add row k of `rows` (m, d) to `out`[indices[k]]; many rows run by run, which keeps digits."""
    if len(rows) <= RUN:
        np.add.at(out, indices, rows)
        return
    for start in range(0, len(rows), RUN):
        run = slice(start, start + RUN)
        distinct, own = np.unique(indices[run], return_inverse=True)
        sums = np.zeros((len(distinct), out.shape[1]), out.dtype)
        np.add.at(sums, own, rows[run])
        out[distinct] += sums


def _ids(inputs: Any) -> Integers:
    """Ids as signed integers: numpy makes floats of uint64 mixed with int64."""
    return inputs.astype(np.intp, copy=False)


def _are_ids(inputs: Any) -> bool:
    return bool(np.issubdtype(inputs.dtype, np.integer))
