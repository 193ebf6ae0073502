"""Normalizations, stated plainly in NumPy in double."""
import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper

from nodes import REFERENCE, Nodes, refuses, versions_of
from test_control import run
from test_products import Mlp, check

F = np.float32
RNG = np.random.default_rng(9)
SHAPES = (2, 4, 3), (3, 8, 5, 7), (1, 4, 2, 3, 6), (2, 12, 1, 1)
BOTH = pytest.mark.parametrize("options", [(), REFERENCE])


def given(shape):
    return RNG.normal(1, 2, shape).astype(F)


def by_channel(v, rank):
    return v.reshape(-1, *[1] * (rank - 2)).astype(float)


def standard(x, axes, epsilon):
    x = x.astype(float)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@BOTH
@pytest.mark.parametrize("version", versions_of("InstanceNormalization"))
def test_instance(version, options):
    nodes = Nodes(version)
    for shape in SHAPES[:3]:
        x, scale, bias = given(shape), given(shape[1]), given(shape[1])
        y = standard(x, tuple(range(2, len(shape))), 1e-3) * by_channel(scale, len(shape)) + by_channel(bias, len(shape))
        nodes.add("InstanceNormalization", [x, scale, bias], [y.astype(F)], epsilon=1e-3)
    nodes.check(ulps=16, atol=1e-5, options=options)


@BOTH
@pytest.mark.parametrize("version", versions_of("GroupNormalization"))
def test_group(version, options):
    """Before version 21 scale and bias are one for each group, since then one for each channel."""
    nodes = Nodes(version)
    for shape in SHAPES:
        for groups in 1, 2, 4:
            n = shape[1] if version >= 21 else groups
            x, scale, bias = given(shape), given(n), given(n)
            y = standard(x.reshape(shape[0], groups, -1), 2, 1e-5).reshape(shape)
            repeat = shape[1] // n
            y = y * by_channel(scale.repeat(repeat), len(shape)) + by_channel(bias.repeat(repeat), len(shape))
            nodes.add("GroupNormalization", [x, scale, bias], [y.astype(F)], num_groups=groups)
    nodes.check(ulps=16, atol=1e-5, options=options)


@BOTH
def test_layer_and_rms(options):
    layer, rms = Nodes(17), Nodes(23)
    for shape in SHAPES + ((5, 300),):
        for axis in range(-len(shape), len(shape)):
            x, scale, bias = given(shape), given(shape[axis % len(shape):]), given(shape[axis % len(shape):])
            axes = tuple(range(axis % len(shape), len(shape)))
            wide = x.astype(float)
            mean, deviation = wide.mean(axes, keepdims=True), np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
            layer.add("LayerNormalization", [x, scale, bias], [((wide - mean) / deviation * scale + bias).astype(F), mean.astype(F),
                                                               (1 / deviation).astype(F)], axis=axis)
            layer.add("LayerNormalization", [x, scale], [((wide - mean) / deviation * scale).astype(F)], axis=axis)
            rms.add("RMSNormalization", [x, scale], [(wide / np.sqrt((wide ** 2).mean(axes, keepdims=True) + 1e-2) * scale).astype(F)],
                    axis=axis, epsilon=1e-2)
    layer.check(ulps=32, atol=2e-5, options=options)
    rms.check(ulps=32, atol=2e-5, options=options)


@BOTH
@pytest.mark.parametrize("version", versions_of("LpNormalization"))
def test_lp(version, options):
    nodes = Nodes(version)
    for shape in SHAPES:
        for axis in range(-1, len(shape)):
            x = given(shape)
            x[..., 0] = 0
            wide = x.astype(float)
            for p, norm in ((1, np.abs(wide).sum(axis, keepdims=True)), (2, np.sqrt((wide ** 2).sum(axis, keepdims=True)))):
                nodes.add("LpNormalization", [x], [np.where(norm == 0, 0, wide / np.where(norm == 0, 1, norm)).astype(F)], axis=axis, p=p)
    nodes.check(ulps=16, atol=1e-7, options=options)
    refuses(Nodes(version).add("LpNormalization", [x], [x], p=3), "p")


@BOTH
@pytest.mark.parametrize("version", versions_of("MeanVarianceNormalization"))
def test_mean_variance(version, options):
    nodes = Nodes(version)
    for axes in (0, 2, 3), (2, 3), (1, 2, 3), (0, 1), (3,), (1,):
        x = given(SHAPES[1]).astype(float).astype(F)
        deviation = x.astype(float).std(axes, keepdims=True)
        y = (x - x.astype(float).mean(axes, keepdims=True)) / (deviation + 1e-9)
        nodes.add("MeanVarianceNormalization", [x], [y.astype(F)], axes=axes)
    nodes.check(ulps=32, atol=2e-5, options=options)


@BOTH
@pytest.mark.parametrize("version", versions_of("LRN"))
def test_lrn(version, options):
    nodes = Nodes(version)
    for shape in SHAPES:
        for size in 1, 2, 3, 5, 9:
            x = given(shape)
            squares = x.astype(float) ** 2
            region = np.stack([squares[:, max(0, c - (size - 1) // 2):c + size // 2 + 1].sum(1) for c in range(shape[1])], 1)
            nodes.add("LRN", [x], [(x / (1.5 + .01 / size * region) ** .6).astype(F)], size=size, alpha=.01, beta=.6, bias=1.5)
    nodes.check(ulps=16, atol=1e-6, options=options)


@pytest.mark.parametrize("channels", [16, 37])
@pytest.mark.parametrize("size", [1, 4, 31, 33])
def test_lrn_between_convolutions(channels, size):
    """On blocks of 16 channels, unless a region reaches further than the next one; bias 0 where lanes are no channels."""
    n = Mlp(np.random.default_rng(size), [2, channels, 5, 7])
    y = n.node("LRN", [n.conv(n.relu("x"), channels, channels, 3, 3, pads=[1] * 4)], size=size, alpha=.5, bias=0.)
    y = n.conv(n.node("MaxPool", [y], kernel_shape=[2, 2]), channels, channels, 1, 1)
    kinds = {"Relu": 1, "Block": 1, "Conv": 2, "LRN": 1, "MaxPool": 1, "Unblock": 1}
    check(n, y, kinds if size < 32 else {**kinds, "Block": 2, "Unblock": 2})


@pytest.mark.parametrize("opset,channels,groups", [(17, 16, 0), (17, 37, 0), (17, 24, 0), (21, 16, 1), (21, 40, 8), (21, 48, 3), (21, 37, 37),
                                                   (21, 64, 16)])
def test_norm_between_convolutions(opset, channels, groups):
    """On blocks of 16 channels: of each, of groups within a block, across some."""
    n = Mlp(np.random.default_rng(channels), [2, channels, 5, 7])
    n.opset, n.ir = opset, 10
    y = n.conv(n.relu("x"), channels, channels, 3, 3, pads=[1] * 4)
    norm, more = ("GroupNormalization", {"num_groups": groups}) if groups else ("InstanceNormalization", {})
    y = n.relu(n.node(norm, [y, n.constant(channels), n.constant(channels)], epsilon=.01, **more))
    y = n.conv(y, channels, channels, 1, 1)
    check(n, y, {"Relu": 2, "Block": 1, "Conv": 2, "GroupNormalization": 1, "Unblock": 1})


def gated(op, channels, axes):
    n = Mlp(np.random.default_rng(channels), [2, channels, 5, 7])
    n.opset = 17
    x = n.conv(n.relu("x"), channels, channels, 3, 3, pads=[1] * 4)
    size = n.node(op, [x], axes=axes)
    gate = n.node("Div", [size, n.node("Exp", [n.node("ReduceMean", [size], axes=[1])])])
    return n, n.conv(n.node("Mul", [x, gate]), channels, channels, 1, 1)


@pytest.mark.parametrize("channels", [32, 37])
@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSumSquare"])
def test_response_norm_between_convolutions(op, channels):
    """Global response normalization: what is computed of whole images meets their blocks, as a view where blocks are whole."""
    n, y = gated(op, channels, [2, 3])
    gate = {op: 1, "ReduceMean": 1, "Exp": 1, "Div": 1, "Unblock": 2, "Block": 1 if channels % 16 == 0 else 2}
    check(n, y, {**gate, "Relu": 1, "Conv": 2, "Mul": 1})


def test_gate_of_places_between_convolutions():
    """Which no block has: the image is multiplied as it was."""
    n, y = gated("ReduceL2", 32, [1])
    check(n, y, {"Relu": 1, "Conv": 2, "ReduceL2": 1, "ReduceMean": 1, "Chain": 1, "Mul": 1, "Block": 2, "Unblock": 2})


@pytest.mark.parametrize("channels,groups", [(16, 4), (40, 1)])
@pytest.mark.parametrize("affine", [False, True])
def test_group_norm_written_out(channels, groups, affine):
    """As PyTorch writes it before opset 21: sessions take the operator all the same."""
    n = Mlp(np.random.default_rng(channels), [2, channels, 5, 7])
    n.opset = 17
    x = n.conv(n.relu("x"), channels, channels, 3, 3, pads=[1] * 4)
    n.weights += [numpy_helper.from_array(np.array(v), name) for name, v in (("parts", [0, groups, -1]), ("whole", [2, channels, 5, 7]))]
    y = n.node("InstanceNormalization", [n.node("Reshape", [x, "parts"]), n.number(1, (groups,)), n.number(0, (groups,))])
    y = n.node("Reshape", [y, "whole"])
    if affine:
        y = n.node("Add", [n.node("Mul", [y, n.constant(channels, 1, 1)]), n.constant(channels, 1, 1)])
    check(n, n.conv(y, channels, channels, 1, 1), {"Relu": 1, "Block": 1, "Conv": 2, "GroupNormalization": 1, "Unblock": 1})


# BatchNormalization at the versions that are no longer written, amid the nodes that are fused with it.

def whole(opset, norm, extra=""):
    return f"""<ir_version: 8, opset_import: ["" : {opset}]> g (float[2,3,4,4] x, float[3,3,1,1] w, float{{}} s, float{{}} b, float{{}} m, float{{}} v)
        => (float[2,3,4,4] z) {{ y = Conv(x, w) n = BatchNormalization<{norm}>(y, s, b, m, v) z = Relu(n) {extra} }}"""


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("opset,norm,spatial", [(6, "is_test = 1", True), (6, "is_test = 1, spatial = 0", False), (7, "spatial = 0", False),
                                                (7, "epsilon = 0.01", True), (9, "epsilon = 0.01", True), (15, "epsilon = 0.01", True),
                                                (1, "is_test = 1, consumed_inputs = [0, 0, 0, 1, 1]", True),
                                                (1, "is_test = 1, spatial = 0, consumed_inputs = [0, 0, 0, 1, 1]", False)])
def test_batch_normalization_in_models(opset, norm, spatial, constant):
    """Statistics of channels, or of every element of a sample (spatial = 0); Conv, BatchNormalization, Relu."""
    shape = (3,) if spatial else (3, 4, 4)
    x, w = given((2, 3, 4, 4)), given((3, 3, 1, 1))
    s, b, m = (given(shape) for _ in range(3))
    v = np.abs(given(shape)) + F(.5)
    text = whole(opset, norm).replace("float{}", f"float[{','.join(map(str, shape))}]")
    y = np.einsum("oi,nihw->nohw", w[:, :, 0, 0].astype(float), x)
    s_, b_, m_, v_ = (a.reshape(1, 3, *(shape[1:] or (1, 1))).astype(float) for a in (s, b, m, v))
    want = np.maximum((y - m_) / np.sqrt(v_ + (.01 if "epsilon" in norm else 1e-5)) * s_ + b_, 0).astype(F)
    inputs = [x, w, s, b, m, v]
    if constant:
        model = onnx.parser.parse_model(text)
        del model.graph.input[1:]
        for name, a in zip("wsbmv", inputs[1:]):
            model.graph.initializer.append(onnx.numpy_helper.from_array(a, name))
        got = run(model, x)[0]
    else:
        got = run(text, *inputs)[0]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
