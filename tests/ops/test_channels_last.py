"""Convolutions between Transposes to and from channels last: the copies that block channels do both. Against the reference
evaluation, and the same bits for every ISA and number of threads."""
import numpy as np
import pytest
from onnx import numpy_helper

from test_products import Mlp, check


def transposed(n, x, rank, back):
    axes = list(range(1, rank - 1))
    return n.node("Transpose", [x], perm=[0, rank - 1, *axes] if back else [0, *(a + 1 for a in axes), 1])


@pytest.mark.parametrize("channels", [16, 37])
@pytest.mark.parametrize("image", [(19,), (9, 7), (3, 4, 6)], ids=str)
def test_between(image, channels):
    rank = len(image) + 2
    n = Mlp(np.random.default_rng(rank), [2, *image, channels])
    x = transposed(n, n.relu("x"), rank, True)
    y = n.relu(n.conv(x, channels + 5, channels, *[3] * len(image), pads=[1] * 2 * len(image)))
    y = n.linear(transposed(n, y, rank, False), channels + 5, 11)
    check(n, y, {"Relu": 1, "BlockLast": 1, "Conv": 1, "UnblockLast": 1, "MatMul": 1})


def viewed(n, x, *shape):
    n.weights.append(numpy_helper.from_array(np.array(shape, np.int64), f"{n.n}_shape"))
    return n.node("Reshape", [x, n.weights[-1].name])


@pytest.mark.parametrize("act", [None, "Gelu", "Tanh"])
@pytest.mark.parametrize("channels", [16, 37])
def test_pixels_as_one_axis(channels, act):
    """Between products, whose rows are the pixels; an activation behind is the convolution's."""
    n = Mlp(np.random.default_rng(channels), [2, 6 * 7, channels])
    n.opset = 20
    x = viewed(n, n.node("Transpose", [n.relu("x")], perm=[0, 2, 1]), 0, channels, 6, 7)
    y = viewed(n, n.conv(x, channels + 5, channels, 3, 3, pads=[1] * 4), 2, channels + 5, -1)
    y = n.node("Transpose", [y], perm=[0, 2, 1])
    y = n.linear(n.node(act, [y]) if act else y, channels + 5, 11)
    check(n, y, {"Relu": 1, "BlockLast": 1, "Conv": 1, "UnblockLast": 1, "MatMul": 1})


def test_pixels_of_other_channels():
    """A Reshape that mixes channels and pixels stays where it is."""
    n = Mlp(np.random.default_rng(5), [2, 40, 16])
    x = viewed(n, n.node("Transpose", [n.relu("x")], perm=[0, 2, 1]), 0, 32, 4, 5)
    y = viewed(n, n.conv(x, 32, 32, 3, 3, pads=[1] * 4), 2, 16, -1)
    y = n.node("Tanh", [n.node("Transpose", [y], perm=[0, 2, 1])])
    check(n, y, {"Relu": 1, "Transpose": 2, "Block": 1, "Conv": 1, "Unblock": 1})


def test_other_orders():
    """Another permutation stays a Transpose."""
    n = Mlp(np.random.default_rng(9), [2, 8, 5, 24])
    x = n.node("Transpose", [n.relu("x")], perm=[0, 3, 2, 1])
    y = n.node("Transpose", [n.conv(x, 24, 24, 3, 3)], perm=[0, 3, 2, 1])
    check(n, y, {"Relu": 1, "Transpose": 2, "Block": 1, "Conv": 1, "Unblock": 1})


@pytest.mark.parametrize("channels", [32, 21])
def test_meets_blocks(channels):
    """A product's results, with slopes of channels, meet a convolution's: they become blocked images."""
    n = Mlp(np.random.default_rng(channels), [2, 6, 8, channels])
    x = n.conv(transposed(n, n.relu("x"), 4, True), channels, channels, 3, 3, pads=[1] * 4)
    y = transposed(n, n.linear(transposed(n, x, 4, False), channels, channels), 4, True)
    y = n.node("Add", [n.node("PRelu", [y, n.constant(channels, 1, 1)]), x])
    y = n.node("Add", [n.conv(y, channels, channels, 3, 3, pads=[1] * 4), y])
    y = n.linear(transposed(n, y, 4, False), channels, 5)
    check(n, y, {"Relu": 1, "BlockLast": 2, "Conv": 2, "Chain": 1, "UnblockLast": 2, "MatMul": 2})


def test_meets_nothing():
    n = Mlp(np.random.default_rng(3), [2, 6, 8, 16])
    y = transposed(n, n.linear("x", 16, 16), 4, True)
    check(n, n.node("Softmax", [n.node("PRelu", [y, n.constant(16, 1, 1)])], axis=1), {"MatMul": 1, "Transpose": 1, "PRelu": 1, "Softmax": 1})


def part(n, x, axis, first, end):
    names = [f"{n.n}_{stem}" for stem in ("starts", "ends", "axes")]
    n.weights += [numpy_helper.from_array(np.array([v], np.int64), name) for name, v in zip(names, (first, end, axis))]
    return n.node("Slice", [x, *names])


@pytest.mark.parametrize("channels", [32, 21])
@pytest.mark.parametrize("image", [(19,), (9, 7)], ids=str)
def test_parts_of_images(image, channels):
    """Circular padding, as parts of an image put around it: between convolutions it stays in blocks."""
    rank = len(image) + 2
    n = Mlp(np.random.default_rng(rank), [2, channels, *image])
    x = n.conv("x", channels, channels, *[3] * len(image), pads=[1] * 2 * len(image))
    x = n.node("Concat", [part(n, x, -1, -2, 2**31), x, part(n, x, rank - 1, 0, 2)], axis=-1)
    y = n.conv(x, channels + 5, channels, *[3] * len(image))
    check(n, y, {"Block": 1, "Conv": 2, "Slice": 2, "Concat": 1, "Unblock": 1})


def test_parts_of_batch():
    n = Mlp(np.random.default_rng(4), [3, 32, 9])
    x = n.conv("x", 32, 32, 3)
    x = n.node("Concat", [part(n, x, 0, 1, 3), x], axis=0)
    check(n, n.conv(x, 32, 32, 3), {"Block": 2, "Conv": 2, "Concat": 1, "Unblock": 2})


@pytest.mark.parametrize("before, behind", [(0, 8), (3, 5), (0, 0), (20, 0)], ids=str)
@pytest.mark.parametrize("form", ["Pad", "Concat"])
def test_channels_of_zeros(form, before, behind):
    """More channels for a residual, as zeros: in blocks."""
    n = Mlp(np.random.default_rng(before + behind), [2, 24, 6, 5])
    x, m = n.conv("x", 24, 24, 3, 3, pads=[1] * 4), 24 + before + behind
    y = n.conv(x, m, 24, 3, 3, pads=[1] * 4)
    if form == "Pad":
        n.weights.append(numpy_helper.from_array(np.array([0, before, 0, 0, 0, behind, 0, 0]), "pads"))
        x = n.node("Pad", [x, "pads"])
    else:
        parts = [n.number(0, (2, c, 6, 5)) for c in (before, behind) if c]
        x = n.node("Concat", [*parts[:bool(before)], x, *parts[bool(before):]], axis=1)
    picks = {"PickChannels": 1} if before + behind else {}
    check(n, n.node("Mul", [x, y]), {"Block": 1, "Conv": 2, "Mul": 1, "Unblock": 1} | picks)


def test_channels_of_ones():
    n = Mlp(np.random.default_rng(2), [1, 24, 6, 5])
    x = n.conv("x", 24, 24, 3, 3, pads=[1] * 4)
    x = n.node("Concat", [x, n.number(1, (1, 8, 6, 5))], axis=1)
    check(n, n.conv(x, 32, 32, 3, 3), {"Block": 2, "Conv": 2, "Unblock": 2, "Concat": 1})
