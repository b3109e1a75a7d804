"""Cases of linear layers: biases over time, in-place operations, residuals, modules used again."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.torch.zoo.case import Built, Model, case, classes, floats, numbers


@case
def one_layer() -> Built:
    return classes(nn.Linear(4, 3), floats(4))


@case
def perceptron() -> Built:
    return classes(nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), floats(5))


@case
def without_bias() -> Built:
    layers = nn.Linear(5, 7, bias=False), nn.GELU(), nn.Linear(7, 3, bias=False)
    return classes(nn.Sequential(*layers), floats(5))


@case
def bias_over_time() -> Built:
    model = Model(lambda m, x: m.b(m.a(x).tanh().mean(1)), a=nn.Linear(4, 6), b=nn.Linear(6, 3))
    return classes(model, floats(5, 4))


@case
def long_and_narrow() -> Built:
    model = Model(lambda m, x: m.b(m.a(x).tanh().mean(1)), a=nn.Linear(2, 2), b=nn.Linear(2, 3))
    return classes(model, floats(20, 2))


@case
def axes_between() -> Built:
    return numbers(
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), floats(2, 3, 3), 2, 3, 2
    )


@case
def relu_in_place() -> Built:
    layers = nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 7), nn.ELU(inplace=True)
    return classes(nn.Sequential(*layers, nn.Linear(7, 3)), floats(5))


@case
def added_in_place() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = m.a(x)
        h += m.b(x)
        h.mul_(0.5)
        h[:, 0] += m.c(x)[:, 0]
        return m.head(h.relu_())

    parts = {name: nn.Linear(5, 6) for name in "abc"}
    return classes(Model(forward, head=nn.Linear(6, 3), **parts), floats(5))


@case(slopes=False)
def activation_and_the_same_without_gradient() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = m.a(x)
        return m.b(torch.sigmoid(h) * h + h.detach())

    return classes(Model(forward, a=nn.Linear(5, 6), b=nn.Linear(6, 3)), floats(5))


@case
def nested_residuals() -> Built:
    def block(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x + m.inner(x + m.a(x).tanh())

    inner = Model(lambda m, x: x + m.a(x).relu(), a=nn.Linear(5, 5))
    outer = Model(block, a=nn.Linear(5, 5), inner=inner)
    return classes(nn.Sequential(outer, nn.Linear(5, 3)), floats(5))


@case
def loop_over_modules() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for layer, gate in zip(m.layers, m.gates.values(), strict=True):
            x = x + gate * layer(x).tanh()
        return m.head(x)

    layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
    gates = nn.ParameterDict({str(k): nn.Parameter(torch.randn(4)) for k in range(3)})
    return classes(Model(forward, layers=layers, gates=gates, head=nn.Linear(4, 3)), floats(4))


@case
def one_module_three_times() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = m.step(x).tanh()
        return m.head(x)

    return classes(Model(forward, step=nn.Linear(5, 5), head=nn.Linear(5, 3)), floats(5))


@case
def one_module_under_two_names() -> Built:
    shared = nn.Linear(4, 4)
    layers = shared, nn.Tanh(), shared, nn.Sigmoid(), nn.Sequential(shared), nn.Linear(4, 3)
    return classes(nn.Sequential(*layers), floats(4))


@case
def one_weight_with_two_biases() -> Built:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 3))
    model[2].weight = model[0].weight
    return classes(model, floats(4))


@case
def one_module_on_other_lengths() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.a(x).tanh().mean(1) + m.a(x[:, 0]) + m.a(x[:, 1:3]).sum(1)

    return classes(Model(forward, a=nn.Linear(4, 3)), floats(5, 4))


@case
def spare_parameter() -> Built:
    model = Model(lambda m, x: m.a(x), a=nn.Linear(4, 3), spare=nn.Linear(2, 2))
    return classes(model, floats(4))


@case
def output_that_nothing_uses() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        m.b(x)
        return m.a(x)

    return classes(Model(forward, a=nn.Linear(4, 3), b=nn.Linear(4, 3)), floats(4))


@case
def frozen_below() -> Built:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    model[0].requires_grad_(requires_grad=False)
    return classes(model, floats(5))


@case
def frozen_between() -> Built:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    model[2].requires_grad_(requires_grad=False)
    model[4].bias.requires_grad_(requires_grad=False)
    return classes(model, floats(5))


@case
def bilinear_layer() -> Built:
    model = Model(lambda m, x: m.a(x[:, :3], x[:, 3:]), a=nn.Bilinear(3, 2, 3))
    return classes(model, floats(5))


@case
def checkpointed() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = checkpoint(m.a, x, use_reentrant=False)
        return m.head(checkpoint(m.b, h, use_reentrant=False))

    a, b = (nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(2))
    return classes(Model(forward, a=a, b=b, head=nn.Linear(5, 3)), floats(5))


@case
def cumulative_sums() -> Built:
    model = Model(lambda m, x: m.b(m.a(x).cumsum(1).tanh()), a=nn.Linear(3, 4), b=nn.Linear(4, 2))
    return numbers(model, floats(5, 3), 5, 2)


@case
def mixed_by_fourier() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.b(torch.fft.fft2(m.a(x)).real.tanh().mean(1))

    return classes(Model(forward, a=nn.Linear(3, 4), b=nn.Linear(4, 3)), floats(5, 3))


@case
def experts_with_dense_gates() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        gates = m.gate(x).softmax(1)
        experts = torch.stack([expert(x) for expert in m.experts], 1)
        return torch.einsum("ne,neo->no", gates, experts)

    experts = nn.ModuleList(
        [nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)) for _ in "abc"]
    )
    return classes(Model(forward, gate=nn.Linear(4, 3), experts=experts), floats(4))


@case(looks_at_data=True)
def experts_chosen_by_data() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        values, chosen = m.gate(x).softmax(1).topk(1)
        out = x.new_zeros(len(x), 3)
        for k, expert in enumerate(m.experts):
            rows = (chosen[:, 0] == k).nonzero()[:, 0]
            out = out.index_add(0, rows, values[rows] * expert(x[rows]))
        return out

    experts = nn.ModuleList([nn.Linear(4, 3) for _ in range(3)])
    return classes(Model(forward, gate=nn.Linear(4, 3), experts=experts), floats(4))


@case(looks_at_data=True)
def branches_by_row() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([m.a(row) if row.sum() > 0 else m.b(row) for row in x])

    return classes(Model(forward, a=nn.Linear(4, 3), b=nn.Linear(4, 3)), floats(4))


@case
def examples_on_the_second_axis() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.b(m.a(x.transpose(0, 1)).tanh()).mean(0)

    return classes(Model(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3)), floats(7, 4))


@case
def examples_and_time_as_one_axis() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = m.a(x.reshape(-1, 4)).tanh()
        return m.b(h).view(len(x), 5, 3).mean(1)

    return classes(Model(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3)), floats(5, 4))


@case
def time_before_examples_as_one_axis() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = m.a(x.transpose(0, 1).reshape(-1, 4)).tanh()
        return m.b(h).view(5, len(x), 3).mean(0)

    return classes(Model(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3)), floats(5, 4))


@case
def only_the_last_time_step() -> Built:
    model = Model(lambda m, x: m.b(m.a(x)[:, -1].tanh()), a=nn.Linear(4, 5), b=nn.Linear(5, 3))
    return classes(model, floats(5, 4))


@case
def functions_of_torch() -> Built:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = functional.linear(x, m.w1, m.b1).tanh()
        h = torch.addmm(m.b2, h, m.w2).tanh()
        return torch.mm(h, m.w3.t()) + m.b3

    shapes = {"w1": (6, 4), "b1": (6,), "w2": (6, 5), "b2": (5,), "w3": (3, 5), "b3": (3,)}
    parts = {name: nn.Parameter(0.5 * torch.randn(shape)) for name, shape in shapes.items()}
    return classes(Model(forward, **parts), floats(4))
