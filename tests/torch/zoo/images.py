"""Cases of convolutions and of normalization."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.torch.zoo.case import Built, Model, case, classes, floats, numbers, parameter


def pooled(layer: nn.Module, channels: int) -> nn.Module:
    """A classifier that looks at the mean of each channel, and at one pixel."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = m.layer(x).tanh().flatten(2)
        return m.head(h.mean(2) + h[:, :, 1])

    return Model(forward, layer=layer, head=nn.Linear(channels, 3))


@case
def convolution() -> Built:
    return classes(pooled(nn.Conv2d(2, 4, 3), 4), floats(2, 6, 5))


@case
def convolution_without_bias() -> Built:
    return classes(pooled(nn.Conv2d(2, 4, (3, 2), padding=1, bias=False), 4), floats(2, 4, 5))


@case
def convolution_1d() -> Built:
    return classes(pooled(nn.Conv1d(3, 4, 3, stride=2, padding=2, dilation=2), 4), floats(3, 9))


@case
def convolution_3d() -> Built:
    layer = nn.Conv3d(2, 4, (2, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1), groups=2)
    return classes(pooled(layer, 4), floats(2, 3, 5, 4))


@case
def convolution_in_groups() -> Built:
    return classes(pooled(nn.Conv2d(4, 6, 3, groups=2, padding=1), 6), floats(4, 5, 5))


@case
def convolution_of_each_channel() -> Built:
    layers = nn.Conv2d(4, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 3, 1)
    return classes(pooled(nn.Sequential(*layers), 3), floats(4, 5, 5))


@case
def convolution_with_holes() -> Built:
    layer = nn.Conv2d(2, 4, 3, stride=(2, 1), dilation=(1, 2), padding=(1, 2))
    return classes(pooled(layer, 4), floats(2, 8, 7))


@case
def convolution_that_skips_the_edge() -> Built:
    return classes(pooled(nn.Conv2d(2, 4, 3, stride=3), 4), floats(2, 8, 7))


@case
def convolution_of_equal_size() -> Built:
    return classes(
        pooled(nn.Conv2d(2, 4, (3, 4), padding="same", dilation=(1, 2)), 4), floats(2, 5, 6)
    )


@case
def convolution_on_a_ring() -> Built:
    layer = nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="circular")
    return classes(pooled(layer, 4), floats(2, 4, 5))


@case
def convolution_of_reflections() -> Built:
    return classes(pooled(nn.Conv1d(2, 4, 3, padding=2, padding_mode="reflect"), 4), floats(2, 6))


@case
def convolution_used_twice() -> Built:
    model = Model(lambda m, x: m.layer(m.layer(x).tanh()), layer=nn.Conv2d(2, 2, 3, padding=1))
    return classes(pooled(model, 2), floats(2, 4, 4))


@case
def convolution_by_a_function() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(m.kernels, (1, 2, 3), keepdim=True)
        return functional.conv2d(x, (m.kernels - mean) / deviation, m.shift)

    return classes(
        pooled(Model(forward, kernels=parameter(4, 2, 3, 3), shift=parameter(4)), 4),
        floats(2, 5, 5),
    )


@case
def transposed_convolution() -> Built:
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
    return classes(pooled(layer, 6), floats(4, 3, 3))


@case
def transposed_convolution_1d() -> Built:
    return classes(pooled(nn.ConvTranspose1d(2, 4, 3, dilation=2), 4), floats(2, 5))


@case
def patches_as_words() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        words = m.patches(x).flatten(2).transpose(1, 2)
        return m.head(m.norm(words + m.places).mean(1))

    parts = {
        "patches": nn.Conv2d(2, 4, 2, stride=2),
        "norm": nn.LayerNorm(4),
        "head": nn.Linear(4, 3),
    }
    return classes(Model(forward, places=parameter(1, 9, 4), **parts), floats(2, 6, 6))


@case
def residual_network() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = functional.relu(m.n1(m.c1(x)), inplace=True)
        h = m.n2(m.c2(h)) + m.short(x)
        return m.head(functional.adaptive_avg_pool2d(h.relu_(), 1).flatten(1))

    parts = {"c1": nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), "n1": nn.GroupNorm(2, 4)}
    parts |= {"c2": nn.Conv2d(4, 4, 3, padding=1, bias=False), "n2": nn.GroupNorm(4, 4)}
    parts |= {"short": nn.Conv2d(2, 4, 1, stride=2), "head": nn.Linear(4, 3)}
    return classes(Model(forward, **parts), floats(2, 6, 6))


@case
def pools_and_shuffles() -> Built:
    layers = nn.Conv2d(2, 8, 3, padding=1), nn.PixelShuffle(2), nn.MaxPool2d(2), nn.Softplus()
    return classes(pooled(nn.Sequential(*layers, nn.Conv2d(2, 3, 2)), 3), floats(2, 4, 4))


@case
def layer_norm() -> Built:
    return classes(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)), floats(4))


@case
def layer_norm_without_bias() -> Built:
    layers = nn.Linear(4, 5), nn.LayerNorm(5, bias=False), nn.Linear(5, 3)
    return classes(nn.Sequential(*layers), floats(4))


@case
def layer_norm_over_time() -> Built:
    return numbers(
        nn.Sequential(nn.LayerNorm(4), nn.Tanh(), nn.LayerNorm((5, 4))), floats(5, 4), 5, 4
    )


@case
def layer_norm_of_the_norm() -> Built:
    """The same norm twice, and one without parameters."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.norm(m.plain(m.norm(x).exp()))

    parts = {"norm": nn.LayerNorm(4), "plain": nn.LayerNorm(4, elementwise_affine=False)}
    return numbers(Model(forward, **parts), floats(5, 4), 5, 4)


@case
def layer_norm_by_hand() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = x - x.mean(-1, keepdim=True)
        return m.head(m.gain * h / (h.var(-1, keepdim=True) + 1e-5).sqrt() + m.shift)

    return classes(
        Model(forward, gain=parameter(4), shift=parameter(4), head=nn.Linear(4, 3)), floats(4)
    )


@case
def rms_norm() -> Built:
    return numbers(
        nn.Sequential(nn.RMSNorm(4), nn.Tanh(), nn.RMSNorm((5, 4), eps=0.1)), floats(5, 4), 5, 4
    )


@case
def group_norm() -> Built:
    return classes(
        pooled(nn.Sequential(nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6)), 6), floats(2, 5, 5)
    )


@case
def group_norm_of_vectors() -> Built:
    return classes(nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), nn.Linear(6, 3)), floats(4))


@case
def instance_norm() -> Built:
    layers = nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, affine=True)
    return classes(pooled(nn.Sequential(*layers), 4), floats(2, 5, 5))


@case
def instance_norm_1d() -> Built:
    layers = nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, affine=True), nn.InstanceNorm1d(4)
    return classes(pooled(nn.Sequential(*layers), 4), floats(2, 7))


@case
def batch_norm_at_fixed_statistics() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return functional.batch_norm(x, m.mean, m.variance, m.gain, m.shift)

    parts = {"mean": torch.randn(2), "variance": torch.rand(2) + 0.5}
    model = Model(forward, gain=parameter(2), shift=parameter(2), **parts)
    return classes(pooled(nn.Sequential(model, nn.Conv2d(2, 3, 1)), 3), floats(2, 4, 4))
