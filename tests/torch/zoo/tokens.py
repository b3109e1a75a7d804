"""Cases of embeddings and attention: tied heads, positions, padding, masks, transformer layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from tests.torch.zoo.case import (
    Arrays,
    Built,
    Model,
    case,
    classes,
    cross_entropy,
    floats,
    language,
    numbers,
    parameter,
    whole,
)


@case
def embedding_and_head() -> Built:
    return language(nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 7)))


@case
def tied_embedding_and_head() -> Built:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Tanh(), nn.Linear(4, 7))
    model[2].weight = model[0].weight
    return language(model)


@case
def tied_without_bias() -> Built:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Tanh(), nn.Linear(4, 7, bias=False))
    model[2].weight = model[0].weight
    return language(model)


@case
def tied_by_a_functional_head() -> Built:
    def forward(m: nn.Module, ids: Tensor) -> Tensor:
        return functional.linear(m.a(m.words(ids)).tanh(), m.words.weight)

    return language(Model(forward, words=nn.Embedding(7, 4), a=nn.Linear(4, 4)))


@case
def tied_in_three_uses() -> Built:
    def forward(m: nn.Module, ids: Tensor) -> Tensor:
        h = m.words(ids) + 0.5 * m.words(ids.flip(1))
        return h.cumsum(1).tanh() @ m.words.weight.T

    return language(Model(forward, words=nn.Embedding(7, 4)))


@case(slopes=False)
def padding() -> Built:
    return language(nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Linear(4, 7)))


@case(slopes=False)
def padding_and_tied_head() -> Built:
    model = nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Tanh(), nn.Linear(4, 7))
    model[2].weight = model[0].weight
    return language(model)


def with_places(m: nn.Module, ids: Tensor, places: Tensor) -> Tensor:
    return m.head((m.words(ids) + m.places(places)).cumsum(1).tanh())


def words_and_places() -> dict[str, nn.Module]:
    return {"words": nn.Embedding(7, 4), "places": nn.Embedding(9, 4), "head": nn.Linear(4, 7)}


@case
def broadcast_places() -> Built:
    model = Model(lambda m, x: with_places(m, x, torch.arange(x.shape[1])), **words_and_places())
    return language(model)


@case
def broadcast_places_with_an_axis() -> Built:
    model = Model(
        lambda m, x: with_places(m, x, torch.arange(x.shape[1])[None]), **words_and_places()
    )
    return language(model)


@case
def expanded_places() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return with_places(m, x, torch.arange(x.shape[1]).expand(len(x), -1))

    return language(Model(forward, **words_and_places()))


@case
def one_hot_product() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return (functional.one_hot(x, 7).double() @ m.table).tanh() @ m.table.T

    return language(Model(forward, table=parameter(7, 4)))


@case
def bags_of_words() -> Built:
    model = nn.Sequential(nn.EmbeddingBag(7, 4, mode="sum"), nn.Tanh(), nn.Linear(4, 3))
    return classes(model, whole(7, 5))


@case
def weighted_bags_of_words() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        return m.head(m.bags(batch["inputs"], per_sample_weights=batch["shares"]))

    model = Model(bags=nn.EmbeddingBag(7, 4, mode="sum"), head=nn.Linear(4, 3))
    arrays = {"inputs": whole(7, 5), "shares": floats(5).abs(), "targets": whole(3)}
    return Task(model, outputs, cross_entropy), arrays


@case
def sparse_embedding() -> Built:
    model = nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Flatten(), nn.Linear(20, 3))
    return classes(model, whole(7, 5))


@case
def one_word() -> Built:
    return classes(nn.Sequential(nn.Embedding(7, 4), nn.Tanh(), nn.Linear(4, 3)), whole(7))


@case
def attention() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return x + m.attention(x, x, x, need_weights=False)[0]

    return numbers(
        Model(forward, attention=nn.MultiheadAttention(4, 2, batch_first=True)), floats(5, 4), 5, 4
    )


@case
def attention_with_its_weights() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        out, weights = m.attention(x, x, x)
        return out + (weights @ x) * m.gain

    parts = {"attention": nn.MultiheadAttention(4, 2, batch_first=True), "gain": parameter(4)}
    return numbers(Model(forward, **parts), floats(5, 4), 5, 4)


@case
def attention_to_other_sizes() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        own, other = x[:, :2], x[:, 2:, :3]
        return m.attention(own, other, other)[0]

    attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, add_bias_kv=True, batch_first=True)
    return numbers(Model(forward, attention=attention), floats(5, 4), 2, 4)


@case
def attention_with_examples_second() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        h = m.inward(x.transpose(0, 1))
        return m.attention(h, h, h)[0].transpose(0, 1)

    parts = {"inward": nn.Linear(4, 4), "attention": nn.MultiheadAttention(4, 2)}
    return numbers(Model(forward, **parts), floats(5, 4), 5, 4)


@case
def encoder_layer() -> Built:
    layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
    return numbers(layer, floats(5, 4), 5, 4)


@case
def encoder_with_padded_examples() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        h = m.encoder(m.words(batch["inputs"]), src_key_padding_mask=batch["padded"])
        kept = (~batch["padded"]).double()[:, :, None]
        return m.head((h * kept).sum(1) / kept.sum(1))

    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = Model(words=nn.Embedding(7, 4), encoder=encoder, head=nn.Linear(4, 3))
    padded = torch.arange(5)[None] >= torch.tensor([5, 3, 1, 4, 5, 2])[:, None]
    arrays = {"inputs": whole(7, 5), "padded": padded, "targets": whole(3)}
    return Task(model, outputs, cross_entropy), arrays


@case
def encoder_and_decoder() -> Built:
    model = Model(
        lambda m, x: m.inner(x[:, :3], x[:, 3:]),
        inner=nn.Transformer(4, 2, 1, 1, 5, dropout=0.0, batch_first=True),
    )
    return numbers(model, floats(5, 4), 2, 4)


def attend(m: nn.Module, x: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Self-attention by one product for query, key and value, causal without `bias`."""
    q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in m.qkv(x).chunk(3, dim=2))
    found = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=bias is None)
    return m.out(found.transpose(1, 2).flatten(2))


@case
def causal_attention() -> Built:
    model = Model(lambda m, x: attend(m, x, 2), qkv=nn.Linear(4, 12), out=nn.Linear(4, 4))
    return numbers(model, floats(5, 4), 5, 4)


@case
def attention_with_trained_distances() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1])
        return attend(m, x, 2, m.table[:, steps[:, None] - steps + 5])

    parts = {"qkv": nn.Linear(4, 12), "out": nn.Linear(4, 4), "table": parameter(2, 11)}
    return numbers(Model(forward, **parts), floats(5, 4), 5, 4)


def block(width: int) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = x + attend(m, m.before(x), 2)
        return x + m.down(functional.gelu(m.up(m.between(x)), approximate="tanh"))

    parts = {"before": nn.LayerNorm(width), "between": nn.LayerNorm(width, bias=False)}
    parts |= {"qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width, bias=False)}
    parts |= {"up": nn.Linear(width, 2 * width), "down": nn.Linear(2 * width, width)}
    return Model(forward, **parts)


@case
def causal_language_model() -> Built:
    def forward(m: nn.Module, ids: Tensor) -> Tensor:
        x = m.words(ids) + m.places(torch.arange(ids.shape[1]))
        return m.head(m.last(m.blocks(x)))

    parts = {"words": nn.Embedding(7, 4), "places": nn.Embedding(5, 4), "last": nn.LayerNorm(4)}
    blocks, head = nn.Sequential(block(4), block(4)), nn.Linear(4, 7, bias=False)
    head.weight = parts["words"].weight
    return language(Model(forward, blocks=blocks, head=head, **parts))


@case
def turned_queries_and_gated_layers() -> Built:
    """Rotary positions, RMSNorm and a gated linear unit."""

    def turned(x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] / torch.tensor([1.0, 10.0])
        one, other = x.chunk(2, dim=-1)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([one * cos - other * sin, one * sin + other * cos], -1)

    def forward(m: nn.Module, ids: Tensor) -> Tensor:
        x = m.words(ids)
        h = m.before(x)
        q, k = turned(m.q(h)), turned(m.k(h))
        x = x + functional.scaled_dot_product_attention(q, k, m.v(h), is_causal=True)
        h = m.between(x)
        return m.head(x + m.down(functional.silu(m.gate(h)) * m.up(h)))

    parts = {name: nn.Linear(4, 4, bias=False) for name in ("q", "k", "v", "gate", "up", "down")}
    norms = {name: nn.RMSNorm(4) for name in ("before", "between")}
    model = Model(forward, words=nn.Embedding(7, 4), head=nn.Linear(4, 7), **parts, **norms)
    return language(model)
