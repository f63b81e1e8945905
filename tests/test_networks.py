"""Every network through one contract, and convolutions against loops over the pixels."""

import math
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from oracle import parameters_without_gradient
from torch import nn

from aevb.datasets.schema import Schema
from aevb.errors import UsageError
from aevb.parts.networks import ACTIVATIONS, NETWORKS
from aevb.parts.networks.conv import Conv
from aevb.parts.networks.mlp import MLP, mlp

LATENT = 3

# A new network is one line here or more: its name, the shape of one row, hidden as the encoder uses
# it.
CASES = {
    "mlp": ("mlp", (5,), (8, 7)),
    "mlp, rows of any shape": ("mlp", (2, 3, 2), (8,)),
    "mlp, linear": ("mlp", (5,), ()),
    "conv 7x5": ("conv", (7, 5), (4, 6)),
    "conv 1x1": ("conv", (1, 1), (4, 6)),
    "conv 28x20": ("conv", (28, 20), (4, 6, 5)),
    "conv 3x28x28": ("conv", (3, 28, 28), (4,)),
    "conv 9x6x3": ("conv", (9, 6, 3), (4, 6)),
    "conv, smaller than its stages": ("conv", (2, 3, 4), (4, 5, 6)),
}
LAYOUTS = [(5, 4), (5, 4, 3), (3, 5, 4), (4, 5, 1), (1, 5, 4), (3, 4, 4)]


def build(name, part, skip=False):
    """A half of a case in float64, and its numbers of features in and out.

    The decoder emits two features for each value.
    """
    network, shape, hidden = CASES[name]
    torch.manual_seed(0)
    d = math.prod(shape)
    if part == "encoder":
        module, features = NETWORKS[network].encoder(shape, hidden, "silu")
        return module.double(), d, features
    return (
        NETWORKS[network].decoder(LATENT, hidden[::-1], shape, 2 * d, "silu", skip=skip).double(),
        LATENT,
        2 * d,
    )


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture(params=["encoder", "decoder", "decoder that skips"])
def half(request, name):
    return build(name, request.param.split()[0], skip="skips" in request.param)


def test_every_table_entry_has_a_case():
    assert {network for network, *_ in CASES.values()} == set(NETWORKS)


def test_classes_are_found_by_name_in_the_package():
    import aevb.parts.networks

    assert aevb.parts.networks.Conv is NETWORKS["conv"]
    with pytest.raises(AttributeError, match="Transformer"):
        aevb.parts.networks.Transformer  # noqa: B018


def test_shapes_with_any_leading_dimensions(half):
    module, inward, outward = half
    x = torch.randn(3, 5, inward, dtype=torch.float64)
    together = module(x)
    assert together.shape == (3, 5, outward)
    assert together.dtype == torch.float64
    assert torch.allclose(module(x[1]), together[1])
    assert torch.allclose(module(x[1, 2]), together[1, 2])
    assert module(x[:0]).shape == (0, 5, outward)


def test_rows_do_not_see_each_other(half):
    module, inward, _ = half
    x = torch.randn(4, inward, dtype=torch.float64)
    before = module(x)
    x = x + torch.tensor([0.0, 0.0, 1.0, 0.0])[:, None]
    changed = ~torch.isclose(module(x), before).all(-1)
    assert changed.tolist() == [False, False, True, False]


def test_a_gradient_reaches_every_parameter_and_the_input(half):
    module, inward, _ = half
    x = torch.randn(6, inward, dtype=torch.float64, requires_grad=True)
    module(x).square().sum().backward()
    assert parameters_without_gradient(module) == []
    assert bool((x.grad.abs().sum(-1) > 0).all())


def test_copies_and_saved_states_give_the_same(half, name):
    module, inward, _ = half
    x = torch.randn(4, inward, dtype=torch.float64)
    expected = module(x)
    other = deepcopy(module)
    assert torch.equal(other(x), expected)
    for p in other.parameters():
        nn.init.zeros_(p)
    assert torch.equal(module(x), expected)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), expected)


def test_no_device_is_wired_in(half):
    module, inward, outward = half
    assert module.to("meta")(torch.empty(2, inward, dtype=torch.float64, device="meta")).shape == (
        2,
        outward,
    )


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(network, activation):
    encoder, features = NETWORKS[network].encoder((4, 4), (3,), activation)
    decoder = NETWORKS[network].decoder(features, (3,), (4, 4), 16, activation)
    for module in encoder, decoder:
        assert any(isinstance(part, ACTIVATIONS[activation]) for part in module.modules())


@pytest.mark.parametrize("network", NETWORKS)
def test_unknown_activation(network):
    with pytest.raises(UsageError, match=r"unknown activation 'rleu'.*Did you mean 'relu'"):
        NETWORKS[network].encoder((4, 4), (3,), "rleu")
    for skip in False, True:
        with pytest.raises(UsageError, match="Did you mean 'relu'"):
            NETWORKS[network].decoder(2, (3,), (4, 4), 16, "rleu", skip=skip)


# --- multi-layer perceptrons


def test_mlp_draws_its_weights_as_layers_written_out_do():
    torch.manual_seed(7)
    by_hand = nn.Sequential(
        nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
    ).state_dict()
    encoder_by_hand = nn.Sequential(nn.Linear(6, 5), nn.Tanh()).state_dict()
    torch.manual_seed(7)
    made = [mlp(6, (5, 4), 3, "tanh"), MLP.encoder((2, 3), (5,), "tanh")[0]]
    torch.manual_seed(7)
    made.append(MLP.decoder(6, (5, 4), (3,), 3, "tanh"))
    for module, expected in zip(made, [by_hand, encoder_by_hand, by_hand], strict=True):
        state = module.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[key], expected[key]) for key in expected)
    x = torch.randn(2, 6)
    w = by_hand
    h = torch.tanh(x @ w["0.weight"].T + w["0.bias"])
    h = torch.tanh(h @ w["2.weight"].T + w["2.bias"])
    assert torch.allclose(made[0](x), h @ w["4.weight"].T + w["4.bias"])


def test_mlp_without_hidden_layers():
    encoder, features = MLP.encoder((2, 2), (), "relu")
    x = torch.randn(3, 4)
    assert features == 4
    assert torch.equal(encoder(x), x)
    assert [
        tuple(p.shape) for p in MLP.decoder(2, (), (4,), 4, "relu", skip=True).parameters()
    ] == [(4, 2), (4,)]


def test_skip_mlp_feeds_z_to_every_layer():
    decoder = MLP.decoder(2, (5, 7), (4,), 4, "tanh", skip=True).double()
    assert [tuple(p.shape) for p in decoder.parameters()] == [
        (5, 2),
        (5,),
        (7, 5 + 2),
        (7,),
        (4, 7 + 2),
        (4,),
    ]
    z = torch.randn(6, 2, dtype=torch.float64)
    linear, seen = [part for part in decoder.modules() if isinstance(part, nn.Linear)], []
    for layer in linear:
        layer.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    assert torch.equal(decoder(z), seen[-1][1])
    assert torch.equal(seen[0][0], z)
    for (_, before), (given, _) in pairwise(seen):
        assert torch.equal(given, torch.cat([torch.tanh(before), z], -1))

    with torch.no_grad():
        for layer in linear[1:]:
            layer.weight[:, :-2] = 0  # all that comes from h
    seen.clear()
    decoder(z)
    for layer, (_, out) in list(zip(linear, seen, strict=True))[1:]:
        assert torch.allclose(out, z @ layer.weight[:, -2:].T + layer.bias)


# --- convolutions


def as_stored(shape):
    """(H, W, C) of a shape, and where value (i, j, c) lies in a flat row, counted without torch."""
    flat = np.arange(math.prod(shape)).reshape(shape)
    if len(shape) == 2:
        flat = flat[:, :, None]
    elif shape[-1] not in (1, 3, 4):
        flat = np.moveaxis(flat, 0, -1)
    return flat.shape, flat


def convolve(picture, convolution, stride):
    """3x3 convolution of (H, W, C) by loops; outside of the picture there are zeros."""
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
    rows, columns, channels = picture.shape
    out = np.zeros((-(-rows // stride), -(-columns // stride), len(bias)))
    for i, j, c in np.ndindex(*out.shape):
        out[i, j, c] = bias[c]
        for a, b, k in np.ndindex(3, 3, channels):
            y, x = stride * i + a - 1, stride * j + b - 1
            if 0 <= y < rows and 0 <= x < columns:
                out[i, j, c] += weight[c, k, a, b] * picture[y, x, k]
    return out


def convolutions(module):
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize("shape", LAYOUTS)
def test_conv_encoder_is_loops_over_the_picture(shape):
    encoder, features = Conv.encoder(shape, (2, 3), "tanh")
    (height, width, _), flat = as_stored(shape)
    row = torch.randn(flat.size, dtype=torch.float64)
    h = row.numpy()[flat]
    for convolution in convolutions(encoder.double()):
        h = np.tanh(convolve(h, convolution, stride=2))
    assert h.shape == (math.ceil(height / 4), math.ceil(width / 4), 3)
    assert features == h.size
    assert np.allclose(encoder(row).detach().numpy(), np.moveaxis(h, -1, 0).ravel())


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shape", LAYOUTS)
def test_conv_decoder_is_loops_over_the_picture(shape, skip):
    """The decoder repeats pixels and convolves; feature i of all values precedes feature i + 1."""
    (height, width, channels), flat = as_stored(shape)
    decoder = Conv.decoder(LATENT, (3, 2), shape, 2 * flat.size, "tanh", skip=skip).double()
    z = torch.randn(LATENT, dtype=torch.float64)
    first, *skips = [part for part in decoder.modules() if isinstance(part, nn.Linear)]
    assert [tuple(part.weight.shape) for part in skips] == (
        [(2, LATENT), (2 * channels, LATENT)] if skip else []
    )
    assert all(part.bias is None for part in skips)  # the convolution has one

    sizes = [(math.ceil(height / 2), math.ceil(width / 2)), (height, width)]
    smallest = (math.ceil(height / 4), math.ceil(width / 4))
    h = np.moveaxis(first(z).detach().numpy().reshape(3, *smallest), 0, -1)
    for stage, (convolution, (rows, columns)) in enumerate(
        zip(convolutions(decoder), sizes, strict=True)
    ):
        h = np.tanh(h).repeat(2, 0)[:rows].repeat(2, 1)[:, :columns]
        h = convolve(h, convolution, stride=1)
        if skip:
            h = h + skips[stage](z).detach().numpy()
    expected = np.empty((2, flat.size))
    expected[0, flat], expected[1, flat] = h[..., :channels], h[..., channels:]
    assert np.allclose(decoder(z).detach().numpy(), expected.ravel())


def test_conv_gives_the_same_whichever_axis_holds_the_channels():
    last, first = (9, 6, 3), (3, 9, 6)
    torch.manual_seed(0)
    a, b = (
        Conv.encoder(last, (4, 5), "silu")[0],
        Conv.decoder(LATENT, (5, 4), last, 2 * 162, "silu"),
    )
    torch.manual_seed(0)
    c, d = (
        Conv.encoder(first, (4, 5), "silu")[0],
        Conv.decoder(LATENT, (5, 4), first, 2 * 162, "silu"),
    )
    x, z = torch.randn(7, *last), torch.randn(7, LATENT)
    assert torch.allclose(a(x.flatten(1)), c(x.permute(0, 3, 1, 2).flatten(1)), atol=1e-6)
    assert torch.allclose(
        b(z).reshape(7, 2, *last), d(z).reshape(7, 2, *first).permute(0, 1, 3, 4, 2), atol=1e-6
    )


def test_conv_features_move_with_the_picture():
    encoder = Conv.encoder((32, 40, 3), (4, 5), "relu")[0]
    x = torch.zeros(32, 40, 3)
    x[10:14, 12:16] = torch.randn(4, 4, 3)
    empty, here = encoder(torch.stack([torch.zeros_like(x), x]).flatten(1)).reshape(2, 5, 8, 10)
    for by, axis in [(2, 0), (3, 1)]:  # two stages: four pixels are one feature
        moved = encoder(x.roll(4 * by, axis).flatten()).reshape(5, 8, 10)
        assert torch.allclose(moved - empty, (here - empty).roll(by, axis + 1), atol=1e-6)
    assert bool(((here - empty).abs() > 1e-3).any())


def test_conv_decoder_has_no_checkerboard():
    """With equal weights a plane of equal values stays one, away from the border."""
    decoder = Conv.decoder(LATENT, (4, 3), (11, 14), 154, "relu")
    for p in decoder.parameters():
        nn.init.constant_(p, 0.1)
    inner = decoder(torch.ones(LATENT)).reshape(11, 14)[3:-3, 3:-3]
    assert torch.allclose(inner, inner[0, 0])


@pytest.mark.parametrize("height", [1, 2, 3, 7, 64, 97])
@pytest.mark.parametrize("stages", [1, 2, 5])
def test_conv_takes_any_size(height, stages):
    for width in (1, 6, 33):
        encoder, features = Conv.encoder((height, width), (2,) * stages, "relu")
        assert features == 2 * math.ceil(height / 2**stages) * math.ceil(width / 2**stages)
        assert encoder(torch.randn(2, height * width)).shape == (2, features)
        decoder = Conv.decoder(LATENT, (2,) * stages, (height, width), height * width, "relu")
        assert decoder(torch.randn(2, LATENT)).shape == (2, height * width)


@pytest.mark.parametrize(
    "shape", [(), (5,), (4, 4), (2, 4, 5), (3, 4, 5), (4, 5, 4), (4, 5, 2), (4, 5, 6), (2, 3, 4, 3)]
)
def test_conv_takes_what_counts_as_a_picture(shape):
    if Schema(values="real", shape=shape, dtype="float32", shift=(0.0,), scale=(1.0,)).is_picture:
        Conv.encoder(shape, (2,), "relu")
        return
    for build in (
        lambda: Conv.encoder(shape, (2,), "relu"),
        lambda: Conv.decoder(2, (2,), shape, math.prod(shape), "relu"),
    ):
        with pytest.raises(UsageError, match="network conv needs pictures") as e:
            build()
        assert f"got rows of shape {shape}" in str(e.value)
        assert "use network mlp" in str(e.value)


@pytest.mark.parametrize("hidden", [(), (4, 0), (-1,)])
def test_conv_needs_channels(hidden):
    with pytest.raises(UsageError, match=r"channels.*got \[.*; try"):
        Conv.encoder((4, 4), hidden, "relu")
    with pytest.raises(UsageError, match=r"channels.*got \[.*; try"):
        Conv.decoder(2, hidden, (4, 4), 16, "relu")


@pytest.mark.parametrize("num_features", [0, 8, 17, -16])
def test_conv_emits_as_many_features_for_every_value(num_features):
    with pytest.raises(UsageError, match=rf"multiple of 16 .*got {num_features}; use network mlp"):
        Conv.decoder(2, (4,), (4, 4), num_features, "relu")


def test_conv_does_not_mix_rows_of_a_wrong_length():
    with pytest.raises(RuntimeError, match="shape"):
        Conv.encoder((4, 4), (2,), "relu")[0](torch.randn(4, 8))
