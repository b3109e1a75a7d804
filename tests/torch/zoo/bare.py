"""Cases of bare parameters: broadcast, in products, in indices, and tensors made of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from batchgrad.torch.tasks import Task
from tests.torch.zoo.case import (
    Arrays,
    Built,
    Model,
    case,
    classes,
    cross_entropy,
    floats,
    numbers,
    parameter,
    whole,
)


@case
def gain_and_shift() -> Built:
    model = Model(
        lambda m, x: m.a(m.gain * x + m.shift),
        gain=parameter(4),
        shift=parameter(4),
        a=nn.Linear(4, 3),
    )
    return classes(model, floats(4))


@case
def gain_over_time() -> Built:
    model = Model(
        lambda m, x: (x * m.gain - m.shift).mean(1), gain=parameter(3), shift=parameter(5, 1)
    )
    return classes(model, floats(5, 3))


@case
def gain_in_place() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = m.a(x)
        h *= m.gain
        return h.add_(m.shift)

    return classes(
        Model(forward, a=nn.Linear(4, 3), gain=parameter(3), shift=parameter(3)), floats(4)
    )


@case
def temperature() -> Built:
    return classes(
        Model(lambda m, x: m.a(x) / m.heat.exp(), a=nn.Linear(4, 3), heat=parameter()), floats(4)
    )


@case
def swish_with_slope() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = m.a(x)
        return m.b(h * torch.sigmoid(m.slope * h))

    model = Model(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3), slope=parameter(1))
    return classes(model, floats(4))


@case
def prelu() -> Built:
    model = nn.Sequential(
        nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 5), nn.PReLU(5), nn.Linear(5, 3)
    )
    return classes(model, floats(4))


@case
def prelu_over_images() -> Built:
    model = nn.Sequential(nn.PReLU(2), nn.Flatten(), nn.Linear(18, 3))
    return classes(model, floats(2, 3, 3))


@case
def parameter_for_some_examples() -> Built:
    def forward(m: nn.Module, x: Tensor, kind: Tensor) -> Tensor:
        h = m.a(x)
        return torch.where(kind[:, None] == 1, h * m.gain, h) + (kind[:, None] == 0) * m.b(x)

    model = Model(forward, a=nn.Linear(4, 3), b=nn.Linear(4, 3), gain=parameter(3))
    arrays = {"inputs": floats(4), "kind": torch.tensor([0, 1, 2, 1, 2, 1]), "targets": whole(3)}
    task = Task(model, lambda module, batch: module(batch["inputs"], batch["kind"]), cross_entropy)
    return task, arrays


@case
def product_with_parameter_on_the_left() -> Built:
    model = Model(lambda m, x: (m.w @ x).tanh().mean(2), w=parameter(3, 4))
    return classes(model, floats(4, 5))


@case
def product_with_parameter_on_the_right() -> Built:
    model = Model(lambda m, x: (x @ m.w).tanh() @ m.v, w=parameter(4, 5), v=parameter(5))
    return numbers(model, floats(2, 4), 2)


@case
def product_of_stacks() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return torch.matmul(x[:, None], m.w).tanh().mean((1, 2))

    return classes(Model(forward, w=parameter(2, 4, 3)), floats(5, 4))


@case
def einsum_with_parameter() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        heads = torch.einsum("nti,hio->nhto", x, m.w)
        return torch.einsum("nhto,ho->no", heads.tanh(), m.v)

    return classes(Model(forward, w=parameter(2, 4, 3), v=parameter(2, 3)), floats(5, 4))


@case
def einsum_of_two_parameters() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return torch.einsum("ni,ir,ro->no", x, m.a, m.b)

    return classes(Model(forward, a=parameter(4, 2), b=parameter(2, 3)), floats(4))


@case
def scores_of_prototypes() -> Built:
    model = Model(
        lambda m, x: -torch.cdist(m.a(x), m.points), a=nn.Linear(4, 2), points=parameter(3, 2)
    )
    return classes(model, floats(4))


@case
def rows_by_index() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(m.table[x[:, 0]] * m.table[x[:, 1]] + m.table[2])

    return classes(Model(forward, table=parameter(5, 4), head=nn.Linear(4, 3)), whole(5, 2))


@case
def rows_by_gather() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        own = m.table.expand(len(x), 5, 3).gather(1, x[:, :, None].expand(-1, -1, 3))
        return own.sum(1) + m.table.index_select(0, x[:, 0]) + torch.take(m.table, x[:, :1])

    return classes(Model(forward, table=parameter(5, 3)), whole(5, 2))


@case
def class_token() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = torch.cat([m.token.expand(len(x), -1, -1), m.a(x)], 1) + m.places
        return m.head(m.b(h).tanh().cumsum(1)[:, -1] + h[:, 0])

    parts = {"a": nn.Linear(3, 4), "b": nn.Linear(4, 4), "head": nn.Linear(4, 3)}
    return classes(
        Model(forward, token=parameter(1, 1, 4), places=parameter(1, 6, 4), **parts), floats(5, 3)
    )


@case
def class_token_repeated() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        tokens = m.token.repeat(len(x), 1, 1)
        return m.head((torch.cat([tokens, x], 1)).tanh().cumsum(1)[:, -1])

    return classes(Model(forward, token=parameter(1, 2, 4), head=nn.Linear(4, 3)), floats(3, 4))


@case
def places_up_to_the_length() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head((x + m.places[: x.shape[1]]).tanh().mean(1))

    return classes(Model(forward, places=parameter(9, 4), head=nn.Linear(4, 3)), floats(5, 4))


@case
def low_rank_update_of_a_frozen_weight() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return functional.linear(x, m.frozen + 0.5 * (m.up @ m.down)).tanh()[:, :3]

    return classes(
        Model(forward, frozen=torch.randn(5, 4), up=parameter(5, 2), down=parameter(2, 4)),
        floats(4),
    )


@case
def low_rank_update_as_modules() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.base(x) + 0.5 * m.up(m.down(x))

    base = nn.Linear(4, 3).requires_grad_(requires_grad=False)
    down, up = nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)
    return classes(Model(forward, base=base, down=down, up=up), floats(4))


@case
def low_rank_update_over_time() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        weight = m.base.weight + m.up @ m.down
        return functional.linear(x, weight, m.base.bias).tanh().mean(1)

    return classes(
        Model(forward, base=nn.Linear(4, 3), up=parameter(3, 2), down=parameter(2, 4)), floats(5, 4)
    )


@case
def normalized_weights() -> Built:
    layers = parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)
    return classes(nn.Sequential(*layers), floats(4))


class Symmetric(nn.Module):  # type: ignore[misc]
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


@case
def symmetric_weights() -> Built:
    inner = nn.Linear(4, 4)
    parametrize.register_parametrization(inner, "weight", Symmetric())
    return classes(nn.Sequential(inner, nn.Tanh(), nn.Linear(4, 3)), floats(4))


@case
def weights_over_their_norm() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = m.a(x).tanh()
        return 4 * functional.linear(
            functional.normalize(h, dim=1), functional.normalize(m.w, dim=1)
        )

    return classes(Model(forward, a=nn.Linear(4, 5), w=parameter(3, 5)), floats(4))


@case
def penalty_of_parameters() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        x = batch["inputs"]
        penalty = 0.1 * m.a.weight.square().sum()
        return torch.cat([m.a(x), penalty.expand(len(x), 1)], 1)

    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return cross_entropy(outputs[:, :3], batch) + outputs[:, 3]

    model = Model(lambda m, x: m.a(x), a=nn.Linear(4, 3))
    return Task(model, outputs, losses), {"inputs": floats(4), "targets": whole(3)}


@case
def list_of_parameters() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        for weight in m.weights:
            x = (x @ weight).tanh()
        return x @ torch.stack(list(m.columns), 1)

    weights = nn.ParameterList([parameter(4, 4) for _ in range(2)])
    columns = nn.ParameterList([parameter(4) for _ in range(3)])
    return classes(Model(forward, weights=weights, columns=columns), floats(4))


@case
def weights_cut_from_one_vector() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        first, bias, second = m.flat.split([20, 5, 15])
        return functional.linear(x, first.view(5, 4), bias).tanh() @ second.view(5, 3)

    return classes(Model(forward, flat=parameter(40)), floats(4))


@case
def kernels_of_each_example() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        kernels = m.kernels(x.mean((2, 3))).view(-1, 2, 3, 3)
        h = functional.conv2d(x.reshape(1, -1, 5, 5), kernels, groups=len(x))
        return m.head(h.view(len(x), -1).tanh())

    return classes(Model(forward, kernels=nn.Linear(2, 18), head=nn.Linear(9, 3)), floats(2, 5, 5))
