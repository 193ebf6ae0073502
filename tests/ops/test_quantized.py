"""Quantized operators as sessions run them, on integers: against statements in NumPy that hold exactly, for random
shapes, zero points at both ends and the largest sums; and QDQ graphs within the steps that float rounding may cost."""
import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nodes as lib
from nodes import Nodes

RNG = np.random.default_rng(11)
F32 = np.float32
TYPES = (np.uint8, np.int8)


def random_bytes(dtype, shape):
    info = np.iinfo(dtype)
    kind = RNG.integers(0, 4)
    if kind == 0:
        return np.full(shape, info.max if RNG.random() < .5 else info.min, dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


def zero_of(dtype, shape=()):
    info = np.iinfo(dtype)
    choices = [info.min, info.max, 0 if dtype == np.int8 else 128, int(RNG.integers(info.min, info.max + 1))]
    return np.asarray(RNG.choice(choices, shape)).astype(dtype)


def requantize(sums, x_scale, w_scale, y_scale, zero):
    """The statement of QLinearConv and QLinearMatMul: an exact sum, one float scale, nearest even."""
    info = np.iinfo(zero.dtype)
    scaled = sums.astype(np.int32).astype(F32) * (F32(x_scale) * w_scale.astype(F32) / F32(y_scale))
    return np.clip(np.rint(scaled) + int(zero), info.min, info.max).astype(zero.dtype)


def run(model, inputs, *options):
    n = Nodes(21)
    n.model = lambda: model
    n.inputs = list(inputs.items())
    n.outputs = [o.name for o in model.graph.output]
    return n.run(*options)


def model_of(nodes, inputs, constants, outputs, opset=21):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in inputs.items()],
        [onnx.ValueInfoProto(name=o) for o in outputs], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_products():
    nodes = Nodes(10)
    for ta, tb, tail in itertools.product(TYPES, TYPES, range(6)):
        m, n, k = (int(v) for v in RNG.integers(1, 50, 3))
        batch = [(), (3,), (2, 3)][tail % 3]
        a = random_bytes(ta, batch + (m, k))
        b = random_bytes(tb, (batch if tail > 2 else ()) + (k, n))
        za, zb = zero_of(ta), zero_of(tb) if tail > 2 else zero_of(tb, (n,))
        sums = np.matmul(a.astype(np.int64) - int(za), b.astype(np.int64) - zb.astype(np.int64))
        nodes.add("MatMulInteger", [a, b, za, zb], [sums.astype(np.int32)])
        sx, sy = F32(.02), F32(RNG.uniform(.3, 60))
        sw = RNG.uniform(.01, .05, () if tail > 2 else (n,)).astype(F32)
        zy = zero_of(ta)
        nodes.add("QLinearMatMul", [a, sx, za, b, sw, zb, sy, zy], [requantize(sums, sx, sw, sy, zy)])
    for options in ((), ("--threads", "3"), lib.REFERENCE):
        nodes.check(options=options)


def conv_sums(x, w, zx, zw, stride, pads, dilation, group):
    """Σ (x - zx)(w - zw) in int64; padding is the zero point."""
    rank = x.ndim - 2
    x = np.pad(x.astype(np.int64) - int(zx), [(0, 0), (0, 0)] + [(pads[d], pads[d + rank]) for d in range(rank)])
    w = w.astype(np.int64) - zw.astype(np.int64).reshape((-1,) + (1,) * (w.ndim - 1))
    out = [(x.shape[2 + d] - (w.shape[2 + d] - 1) * dilation[d] - 1) // stride[d] + 1 for d in range(rank)]
    m_group, c_group = w.shape[0] // group, w.shape[1]
    y = np.zeros((x.shape[0], w.shape[0], *out), np.int64)
    for tap in itertools.product(*(range(k) for k in w.shape[2:])):
        at = tuple(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride))
        for g in range(group):
            part = x[(slice(None), slice(g * c_group, (g + 1) * c_group), *at)]
            y[:, g * m_group:(g + 1) * m_group] += np.einsum("nc...,mc->nm...", part, w[(slice(g * m_group, (g + 1) * m_group), slice(None), *tap)])
    return y


def random_conv():
    rank = int(RNG.choice([1, 2, 2, 2, 3]))
    kind = RNG.choice(["full", "groups", "depthwise", "pointwise", "first"])
    group = 1 if kind in ("full", "pointwise", "first") else int(RNG.integers(2, 5)) if kind == "groups" else int(RNG.integers(2, 40))
    c_group = 1 if kind == "depthwise" else 3 if kind == "first" else int(RNG.integers(1, 24))
    m = group * (1 if kind == "depthwise" else int(RNG.integers(1, 24)))
    pointwise = kind == "pointwise"
    kernel = [1 if pointwise else int(v) for v in RNG.integers(1, 5, rank)]
    dilation = [1 if pointwise else int(v) for v in RNG.integers(1, 3, rank)]
    pads = [0 if pointwise else int(v) for v in RNG.integers(0, 3, 2 * rank)]
    stride = [1 if pointwise and RNG.random() < .7 else int(v) for v in RNG.integers(1, 3, rank)]
    image = [(k - 1) * d + 1 + int(RNG.integers(0, 12)) for k, d in zip(kernel, dilation)]
    return (int(RNG.integers(1, 3)), group * c_group, *image), (m, c_group, *kernel), dict(strides=stride, pads=pads, dilations=dilation, group=group)


def conv_case(tx, tw):
    x_shape, w_shape, attrs = random_conv()
    x, w = random_bytes(tx, x_shape), random_bytes(tw, w_shape)
    zx, zw = zero_of(tx), zero_of(tw, (w_shape[0],)) if RNG.random() < .5 else np.full(w_shape[0], 0 if tw == np.int8 else 128, tw)
    return x, w, zx, zw, attrs, conv_sums(x, w, zx, zw, attrs["strides"], attrs["pads"], attrs["dilations"], attrs["group"])


@pytest.mark.parametrize("constant", [False, True])
def test_convolutions(constant):
    """Weights given in the run, and constant ones."""
    nodes, inputs, constants, expected = [], {}, {}, []
    for i, (tx, tw) in enumerate(list(itertools.product(TYPES, TYPES)) * 12):
        x, w, zx, zw, attrs, sums = conv_case(tx, tw)
        m = w.shape[0]
        sx, sw, sy = F32(.02), RNG.uniform(.01, .05, m).astype(F32), F32(RNG.uniform(.3, 60))
        bias, zy = RNG.integers(-1000, 1000, m).astype(np.int32), zero_of(tx)
        shape = (1, m) + (1,) * (x.ndim - 2)
        y = requantize(sums + bias.reshape(shape), sx, sw.reshape(shape), sy, zy)
        (constants if constant else inputs).update({f"w{i}": w, f"zw{i}": zw})
        inputs[f"x{i}"] = x
        constants.update({f"zx{i}": zx, f"sx{i}": sx, f"sw{i}": sw, f"sy{i}": sy, f"zy{i}": zy, f"b{i}": bias})
        if np.all(zw == zw[0]):
            constants[f"z{i}"] = zw[0]
            nodes.append(helper.make_node("ConvInteger", [f"x{i}", f"w{i}", f"zx{i}", f"z{i}"], [f"s{i}"], **attrs))
            expected.append((f"s{i}", sums.astype(np.int32)))
        nodes.append(helper.make_node("QLinearConv", [f"{p}{i}" for p in ("x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b")], [f"y{i}"], **attrs))
        expected.append((f"y{i}", y))
    inputs = {k: np.asarray(v) for k, v in inputs.items()}
    constants = {k: np.asarray(v) for k, v in constants.items()}
    model = model_of(nodes, inputs, constants, [k for k, _ in expected], 10)
    for options in ((), ("--threads", "3")):
        for got, (name, want) in zip(run(model, inputs, *options), expected):
            assert got.dtype == want.dtype and got.shape == want.shape, name
            assert np.array_equal(got, want), f"{name}: {got[got != want][:5]} instead of {want[got != want][:5]}"
