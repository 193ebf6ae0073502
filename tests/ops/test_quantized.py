"""Quantized operators as sessions run them, on integers: against statements in NumPy that hold exactly, for random
shapes, zero points at both ends and the largest sums; and QDQ graphs within the steps that float rounding may cost."""
import itertools
import tempfile

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


def test_products(tmp_path):
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
    onnx.save(nodes.model(), tmp_path / "m.onnx")
    np.savez(tmp_path / "i.npz", **dict(nodes.inputs))
    assert set(lib.profile(tmp_path / "m.onnx", "--inputs", tmp_path / "i.npz")) == \
        {("MatMulInteger", "int8 gemm"), ("QLinearMatMul", "int8 gemm")}


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
    kind = RNG.choice(["full", "groups", "small groups", "depthwise", "pointwise", "first"])
    group = 1 if kind in ("full", "pointwise", "first") else int(RNG.integers(2, 5)) if kind == "groups" else int(RNG.integers(2, 40))
    c_group = 1 if kind == "depthwise" else 3 if kind == "first" else int(RNG.integers(1, 9 if kind == "small groups" else 24))
    m = group * (1 if kind == "depthwise" else int(RNG.integers(1, 9 if kind == "small groups" else 24)))
    pointwise = kind == "pointwise"
    kernel = [1 if pointwise else int(v) for v in RNG.integers(1, 5, rank)]
    dilation = [1 if pointwise else int(v) for v in RNG.integers(1, 3, rank)]
    pads = [0 if pointwise else int(v) for v in RNG.integers(0, 3, 2 * rank)]
    stride = [1 if pointwise and RNG.random() < .7 else int(v) for v in RNG.integers(1, 3, rank)]
    if kind == "small groups" and RNG.random() < .5:
        kernel, dilation, stride = [3] * rank, [1] * rank, [1] * rank
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
    for cpu, options in (("avx512", ()), ("avx512", ("--threads", "3")), ("avx2", ()), ("ref", ())):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INFOLD_CPU", cpu)
            results = run(model, inputs, *options)
        for got, (name, want) in zip(results, expected):
            assert got.dtype == want.dtype and got.shape == want.shape, name
            assert np.array_equal(got, want), f"{name}: {got[got != want][:5]} instead of {want[got != want][:5]}"


# ---- QDQ: what stands between DequantizeLinear and QuantizeLinear ----

class Qdq:
    """A graph of float operators between quantizations, as quantizers write them."""

    def __init__(self, dtype, opset=21):
        self.dtype, self.opset, self.nodes, self.inputs, self.constants, self.n = dtype, opset, [], {}, {}, 0

    def name(self, stem):
        self.n += 1
        return f"{stem}{self.n}"

    def constant(self, value, stem="c"):
        name = self.name(stem)
        self.constants[name] = np.asarray(value)
        return name

    def node(self, op, inputs, n_outputs=1, **attrs):
        outs = [self.name(op.lower()) for _ in range(n_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outs, **attrs))
        return outs[0]

    def parameters(self, scale=None):
        zero = np.asarray(RNG.integers(np.iinfo(self.dtype).min, np.iinfo(self.dtype).max + 1)).astype(self.dtype)
        return [self.constant(F32(scale or RNG.uniform(.01, .1)), "scale"), self.constant(zero, "zero")]

    def input(self, shape, parameters=None):
        name = self.name("x")
        self.inputs[name] = random_bytes(self.dtype, shape)
        return self.node("DequantizeLinear", [name, *(parameters or self.parameters())])

    def weights(self, shape, axis, per_axis):
        n = shape[axis]
        scale = RNG.uniform(.005, .02, n if per_axis else ()).astype(F32)
        w = self.constant(random_bytes(np.int8, shape), "w")
        attrs = {"axis": axis} if per_axis else {}
        return self.node("DequantizeLinear", [w, self.constant(scale), self.constant(np.zeros(scale.shape, np.int8))], **attrs)

    def quantize(self, value, parameters=None):
        return self.node("QuantizeLinear", [value, *(parameters or self.parameters())])

    def again(self, value, parameters=None):
        parameters = parameters or self.parameters()
        return self.node("DequantizeLinear", [self.quantize(value, parameters), *parameters])

    def check(self, outputs, expect, absent=(), steps=1):
        """Bytes within so many steps of the float evaluation, by the operators expected."""
        model = model_of(self.nodes, self.inputs, self.constants, outputs, self.opset)
        want = run(model, self.inputs, "--no-optimize")
        got = run(model, self.inputs)
        for a, b in zip(got, want):
            assert a.dtype == b.dtype and a.shape == b.shape
            if a.dtype == np.float32:
                assert np.allclose(a, b, rtol=1e-4, atol=1e-4 * max(1, np.abs(b).max())), (a, b)
            else:
                worst = np.abs(a.astype(int) - b.astype(int)).max(initial=0)
                assert worst <= steps, f"{worst} steps: {[n.op_type for n in self.nodes]}"
        for cpu, options in (("avx512", ("--threads", "3")), ("avx2", ()), ("ref", ())):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("INFOLD_CPU", cpu)
                for a, b in zip(run(model, self.inputs, *options), got):
                    assert a.tobytes() == b.tobytes(), f"other bits on {cpu} {options}"
        found = operators_of(model, self.inputs)
        assert set(expect) <= found and not set(absent) & found, found


def operators_of(model, inputs):
    """The operators that a session runs."""
    with tempfile.TemporaryDirectory() as tmp:
        onnx.save(model, f"{tmp}/m.onnx")
        np.savez(f"{tmp}/i.npz", **inputs)
        return {operator for operator, _ in lib.profile(f"{tmp}/m.onnx", "--inputs", f"{tmp}/i.npz")}


FLOATS = ("Conv", "MatMul", "Gemm", "DequantizeLinear", "QuantizeLinear")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("end", ["quantized", "relu", "clip", "float"])
def test_qdq_conv(dtype, end):
    for _ in range(8):
        g = Qdq(dtype)
        x_shape, w_shape, attrs = random_conv()
        m = w_shape[0]
        inputs = [g.input(x_shape), g.weights(w_shape, 0, RNG.random() < .5)]
        if RNG.random() < .7:
            inputs.append(g.constant(RNG.uniform(-2, 2, m).astype(F32)))
        y = g.node("Conv", inputs, **attrs)
        y = g.node("Relu", [y]) if end == "relu" else g.node("Clip", [y, g.constant(F32(-1)), g.constant(F32(6))]) if end == "clip" else y
        g.check([y if end == "float" else g.quantize(y)], {"QConv"}, FLOATS)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("quantized", [True, False])
def test_qdq_products(dtype, quantized):
    for kind in ("MatMul", "Gemm", "row", "behind", "activations", "bias", "batch"):
        g = Qdq(dtype)
        m, n, k = (int(v) for v in RNG.integers(1, 40, 3))
        if kind in ("Gemm", "row", "behind"):
            trans_b = int(RNG.integers(0, 2))
            w = g.weights((n, k) if trans_b else (k, n), 0 if trans_b else 1, True)
            c = g.constant(RNG.uniform(-2, 2, (1, n) if kind == "row" else n).astype(F32))
            y = g.node("Gemm", [g.input((m, k)), w] + ([c] if kind != "behind" else []), transB=trans_b)
            y = g.node("Add", [y, c]) if kind == "behind" else y
        elif kind in ("activations", "batch"):
            y = g.node("MatMul", [g.input((2, 3, m, k)), g.input((2, 3, k, n) if kind == "batch" else (k, n))])
        else:
            y = g.node("MatMul", [g.input((2, m, k)), g.weights((k, n), 1, True)])
            y = g.node("Add", [g.constant(RNG.uniform(-2, 2, n).astype(F32)), y]) if kind == "bias" else y
        g.check([g.quantize(y) if quantized else y], {"QMatMul"}, FLOATS)


@pytest.mark.parametrize("dtype", TYPES)
def test_qdq_elements(dtype):
    for op in ("Add", "Sub", "Mul"):
        for a, b in [((2, 5, 6, 7), (2, 5, 6, 7)), ((2, 5, 6, 7), (2, 5, 1, 1)), ((3, 1, 33), (4, 33)), ((1,), ()), ((2, 3), (1,))]:
            g = Qdq(dtype)
            y = g.node(op, [g.input(a), g.input(b)])
            y = g.node("Relu", [y]) if RNG.random() < .5 else y
            g.check([g.quantize(y)], {"QBinary"}, FLOATS)
    for op in ("Sigmoid", "Relu", "HardSwish", "LeakyRelu", "Tanh", "Identity", "Erf"):
        g = Qdq(dtype)
        y = g.node(op, [g.input([(3, 50), (1,), ()][RNG.integers(0, 3)])])
        y = g.node("Mul", [y, g.constant(F32(1.5))]) if RNG.random() < .5 else y
        g.check([g.quantize(y)], {"QLookup"}, FLOATS)
    for op, constant in [("PRelu", F32([[[.3]]])), ("Min", F32([[1.5]])), ("Pow", F32([[[2]]]))]:
        g = Qdq(dtype)
        g.check([g.quantize(g.node(op, [g.input((2, 3, 5, 4)), g.constant(constant)]))], {"QLookup"}, FLOATS)


@pytest.mark.parametrize("dtype", TYPES)
def test_qdq_functions_of_one_value(dtype):
    """Sums and products of two functions of the same bytes are one table; of others they stay."""
    for op in ("Add", "Sub", "Mul"):
        for functions in ([None, "Sigmoid"], ["Tanh", None], ["Sigmoid", "Relu"], [None, None]):
            g = Qdq(dtype)
            x = g.input((2, 5, 6, 7))
            y = g.node(op, [g.again(g.node(f, [x])) if f else x for f in functions])
            y = g.node("Relu", [y]) if RNG.random() < .5 else y
            g.check([g.quantize(y)], {"QLookup"}, (*FLOATS, "QBinary"))
        g = Qdq(dtype)
        y = g.node(op, [g.input((2, 5, 6, 7)), g.again(g.node("Sigmoid", [g.input((2, 5, 6, 7))]))])
        g.check([g.quantize(y)], {"QBinary", "QLookup"}, FLOATS)


@pytest.mark.parametrize("dtype", TYPES)
def test_qdq_pools(dtype):
    for rank in (1, 2, 3):
        image = [int(v) for v in RNG.integers(4, 9, rank)]
        window = dict(kernel_shape=[3] * rank, strides=[2] * rank, pads=[1] * (2 * rank))
        g = Qdq(dtype)
        g.check([g.quantize(g.node("GlobalAveragePool", [g.input((2, 37, *image))]))], {"QPool"}, FLOATS)
        for count in (0, 1):
            g = Qdq(dtype)
            y = g.node("AveragePool", [g.input((2, 300, *image))], count_include_pad=count, ceil_mode=int(RNG.integers(0, 2)), **window)
            g.check([g.quantize(y)], {"QPool"}, FLOATS)
        g = Qdq(dtype)
        p = g.parameters()
        y = g.node("MaxPool", [g.input((2, 37, *image), p)], **window)
        g.check([g.quantize(y, p)], {"QPool"}, FLOATS, steps=0)


@pytest.mark.parametrize("dtype", TYPES)
def test_qdq_moves(dtype):
    """What only moves elements runs on bytes, exactly."""
    g = Qdq(dtype)
    p = g.parameters()
    y = g.node("Reshape", [g.input((2, 12, 5), p), g.constant(np.array([4, 6, 5]))])
    y = g.node("Concat", [y, g.input((4, 3, 5), p)], axis=1)
    g.check([g.quantize(g.node("Transpose", [y], perm=[2, 0, 1]), p)], {"Transpose"}, FLOATS, steps=0)
    g = Qdq(dtype)
    y = g.node("Concat", [g.input((4, 6, 5)), g.input((4, 3, 5))], axis=1)
    g.check([g.quantize(y)], {"Concat", "QLookup"}, FLOATS, steps=1)


@pytest.mark.parametrize("dtype", TYPES)
def test_qdq_network(dtype):
    """A residual block between pools: bytes from end to end, one change of layout each way at most."""
    g = Qdq(dtype)
    x = g.again(g.node("MaxPool", [g.input((2, 16, 12, 12))], kernel_shape=[2, 2], strides=[2, 2]))
    y = g.again(g.node("Relu", [g.node("Conv", [x, g.weights((24, 16, 3, 3), 0, True)], pads=[1] * 4)]))
    y = g.again(g.node("Conv", [y, g.weights((24, 1, 3, 3), 0, True)], pads=[1] * 4, group=24))
    y = g.again(g.node("Conv", [y, g.weights((16, 24, 1, 1), 0, True)]))
    y = g.again(g.node("Relu", [g.node("Add", [x, y])]))
    y = g.again(g.node("GlobalAveragePool", [y]))
    y = g.node("Flatten", [y])
    y = g.node("Gemm", [y, g.weights((10, 16), 0, True)], transB=1)
    g.check([g.quantize(y)], {"QConv", "QPool", "QMatMul"}, (*FLOATS, "QBinary"), steps=2)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 16, 9, 7), (2, 3, 20, 20), (1, 64, 7, 7), (3, 16, 11), (2, 16, 3, 5, 4)])
def test_qdq_sums_of_products(dtype, shape):
    """A sum is made as a convolution is stored, whichever side of it the convolution is."""
    for side, group in [(0, 1), (1, 1), (0, 2)]:
        g = Qdq(dtype)
        c, n = shape[1], len(shape) - 2
        group = group if c % group == 0 else 1
        x = g.again(g.node("MaxPool", [g.input(shape)], kernel_shape=[1] * n))
        y = g.again(g.node("Conv", [x, g.weights((c, c // group, *[3] * n), 0, True)], pads=[1] * (2 * n), group=group))
        y = g.node("Add", [x, y] if side else [y, x])
        y = g.node("Relu", [y]) if RNG.random() < .5 else y
        g.check([g.quantize(y)], {"QConv"}, (*FLOATS, "QBinary"), steps=2)


def test_qdq_sums_beside_products():
    """Of another shape, of a result that others read, in another group's kernel: the sum stays its own."""
    for other in ("broadcast", "read", "depthwise"):
        g = Qdq(np.uint8)
        group = 16 if other == "depthwise" else 1
        x = g.again(g.node("MaxPool", [g.input((2, 16, 9, 7))], kernel_shape=[1, 1]))
        y = g.again(g.node("Conv", [x, g.weights((16, 16 // group, 3, 3), 0, True)], pads=[1] * 4, group=group))
        z = g.quantize(g.node("Add", [y, g.input((2, 16, 1, 1)) if other == "broadcast" else x]))
        g.check([z, g.quantize(y)] if other == "read" else [z], {"QConv", "QBinary"}, FLOATS, steps=2)


def test_stays_float():
    """Scales along another axis than the outputs', blocks, weights that are floats: nothing is made integer."""
    for w, shape, axis in [((8, 6, 3, 3), (6,), 1), ((8, 6, 3, 3), (8, 3, 3, 3), 1)]:
        g = Qdq(np.uint8)
        attrs = {"block_size": 2} if len(shape) == 4 else {}
        weights = g.node("DequantizeLinear", [g.constant(random_bytes(np.int8, w)), g.constant(RNG.uniform(.01, .02, shape).astype(F32))],
                         axis=axis, **attrs)
        y = g.node("Conv", [g.input((1, 6, 9, 9)), weights])
        g.check([g.quantize(y)], {"Conv", "DequantizeLinear", "QuantizeLinear"}, {"QConv"})
    g = Qdq(np.uint8)
    g.check([g.node("MatMul", [g.input((3, 8)), g.constant(RNG.uniform(-1, 1, (8, 5)).astype(F32))])], {"MatMul"}, {"QMatMul"})


def test_large_tables():
    """Rows of a table of bytes become floats when they are picked; a small table does so once."""
    g = Qdq(np.uint8)
    table = g.node("DequantizeLinear", [g.constant(random_bytes(np.int8, (160000, 32))), g.constant(F32(.01)), g.constant(np.int8(3))])
    g.inputs["ids"] = RNG.integers(0, 160000, (2, 5))
    g.check([g.node("LayerNormalization", [g.node("Gather", [table, "ids"]), g.constant(np.ones(32, F32))])], {"Gather", "DequantizeLinear"}, ())
    g = Qdq(np.uint8)
    table = g.node("DequantizeLinear", [g.constant(random_bytes(np.int8, (160, 32))), g.constant(F32(.01)), g.constant(np.int8(3))])
    g.inputs["ids"] = RNG.integers(0, 160, (2, 5))
    g.check([g.node("LayerNormalization", [g.node("Gather", [table, "ids"]), g.constant(np.ones(32, F32))])], {"Gather"}, ("DequantizeLinear",))


def test_own_function():
    """A function of the model's own that has such a name means what the model says."""
    g = Qdq(np.uint8)
    g.inputs["x"] = RNG.uniform(-1, 1, (2, 3)).astype(F32)
    g.nodes.append(helper.make_node("QLinearSigmoid", ["x"] * 5, ["y"], domain="com.microsoft"))
    model = model_of(g.nodes, g.inputs, {}, ["y"], 17)
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("com.microsoft", "QLinearSigmoid", list("abcde"), ["r"], [helper.make_node("Neg", ["a"], ["r"])], opsets))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert np.array_equal(run(model, g.inputs)[0], -g.inputs["x"])


# ---- dynamic quantization, as quantize_dynamic writes it ----

def dynamic(g, x, op, w, w_scale, bias, **attrs):
    """x quantized in the run, an integer product, scaled, a bias added."""
    q, scale, zero = (g.name("dynamic") for _ in range(3))
    g.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [q, scale, zero]))
    sums = g.node(op, [q, g.constant(w), zero, g.constant(np.zeros((), w.dtype) if w.dtype == np.int8 else np.uint8(128))], **attrs)
    y = g.node("Cast", [sums], to=TensorProto.FLOAT)
    y = g.node("Mul", [y, g.node("Mul", [scale, g.constant(w_scale)])])
    return y if bias is None else g.node("Add", [y, g.constant(bias)])


@pytest.mark.parametrize("weights", TYPES)
@pytest.mark.parametrize("per_column", [False, True])
def test_dynamic(weights, per_column):
    for bias in (False, True):
        g = Qdq(np.uint8)
        m, n, k = (int(v) for v in RNG.integers(1, 50, 3))
        g.inputs["x"] = RNG.uniform(-3, 2, (2, m, k)).astype(F32)
        scale = RNG.uniform(.01, .02, n if per_column else ()).astype(F32)
        y = dynamic(g, "x", "MatMulInteger", random_bytes(weights, (k, n)), scale, RNG.uniform(-1, 1, n).astype(F32) if bias else None)
        g.check([g.node("Relu", [y]) if bias else y], {"QMatMul", "DynamicQuantizeLinear"}, {"Cast", "MatMulInteger", "Add", "Relu"})
        g = Qdq(np.uint8)
        x_shape, w_shape, attrs = random_conv()
        plain = (1, w_shape[0]) + (1,) * (len(w_shape) - 2)
        g.inputs["x"] = RNG.uniform(-3, 2, x_shape).astype(F32)
        scale = RNG.uniform(.01, .02, plain[1:] if per_column else (1,)).astype(F32)
        bias_value = RNG.uniform(-1, 1, plain).astype(F32) if bias else None
        y = dynamic(g, "x", "ConvInteger", random_bytes(weights, w_shape), scale, bias_value, **attrs)
        absent = {"Cast", "ConvInteger"} | ({"Add"} if w_shape[0] > 1 else set())
        g.check([y], {"QConv", "DynamicQuantizeLinear"}, absent)


# ---- the operators that ONNX Runtime's quantizer adds to ONNX's ----

def contrib(g, op, parameters, operands, float_op, **attrs):
    """The operator of com.microsoft, and the same as ONNX has it: both results."""
    q = [g.name("x") for _ in operands]
    g.inputs.update({n: random_bytes(g.dtype, s) for n, s in zip(q, operands)})
    triples = [[n, *g.parameters()] for n in q]
    flat = [n for t in triples for n in t]
    out = g.name("contrib")
    inputs = [*parameters, *flat] if op == "QLinearConcat" else [*flat, *parameters]
    further = {"channels_last": 0} if "Average" in op else {"opset": 13} if "Softmax" in op else {}
    attrs_foreign = {**attrs, **further}
    g.nodes.append(helper.make_node(op, inputs, [out], domain="com.microsoft", **attrs_foreign))
    reals = [g.node("DequantizeLinear", t) for t in triples]
    return out, g.quantize(g.node(float_op, reals, **attrs), parameters)


def pairs_agree(g, pairs):
    model = model_of(g.nodes, g.inputs, g.constants, [name for pair in pairs for name in pair], 13)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    for options in ((), ("--no-optimize",), lib.REFERENCE, ("--float64",)):
        got = run(model, g.inputs, *options)
        for a, b in zip(got[::2], got[1::2]):
            assert a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("dtype", TYPES)
def test_contributed(dtype):
    g = Qdq(dtype)
    pairs = [contrib(g, f"QLinear{op}", g.parameters(), [(2, 5, 7, 7), (2, 5, 1, 1)], op) for op in ("Add", "Mul")]
    pairs += [contrib(g, f"QLinear{op}", g.parameters(), [(2, 5, 7, 7)], op, **attrs) for op, attrs in
              [("GlobalAveragePool", {}), ("AveragePool", {"kernel_shape": [2, 3]}), ("Sigmoid", {}), ("LeakyRelu", {"alpha": .2}), ("Softmax", {"axis": 2})]]
    pairs.append(contrib(g, "QLinearConcat", g.parameters(), [(2, 5, 7), (2, 3, 7)], "Concat", axis=1))
    pairs_agree(g, pairs)


def test_contributed_where():
    g = Qdq(np.uint8)
    g.inputs.update(c=RNG.integers(0, 2, (3, 5)).astype(bool), a=random_bytes(np.uint8, (3, 5)), b=random_bytes(np.uint8, (5,)))
    a, b, y = (g.parameters() for _ in range(3))
    g.nodes.append(helper.make_node("QLinearWhere", ["c", "a", *a, "b", *b, *y], ["contrib"], domain="com.microsoft"))
    real = g.node("Where", ["c", g.node("DequantizeLinear", ["a", *a]), g.node("DequantizeLinear", ["b", *b])])
    pairs_agree(g, [("contrib", g.quantize(real, y))])


@pytest.mark.parametrize("dtype", [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT16, TensorProto.UINT16])
def test_contributed_types(dtype):
    """ONNX Runtime's own Q and DQ take 4 and 16 bits in models of opset 17, where ONNX's do not."""
    values = RNG.integers(0, 7, (6, 4))
    scale = RNG.uniform(.1, .2, 4).astype(F32)
    tensors = [helper.make_tensor("w", dtype, (6, 4), values.ravel().tolist()), helper.make_tensor("z", dtype, (4,), [1, 2, 3, 0]),
               numpy_helper.from_array(scale, "s")]
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["r"], domain="com.microsoft", axis=1), helper.make_node("MatMul", ["x", "r"], ["p"]),
             helper.make_node("QuantizeLinear", ["p", "s", "z"], ["q"], domain="com.microsoft", axis=1),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], domain="com.microsoft", axis=1)]
    x = RNG.uniform(0, 1, (3, 6)).astype(F32)
    model = model_of(nodes, {"x": x}, {}, ["y"], 17)
    model.graph.initializer.extend(tensors)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    zero, most = np.array([1, 2, 3, 0]), {TensorProto.INT4: 7, TensorProto.UINT4: 15}.get(dtype, 1 << 14)
    product = x @ ((values - zero) * scale).astype(F32)
    least = -8 if dtype == TensorProto.INT4 else -(1 << 15) if dtype == TensorProto.INT16 else 0
    want = (np.clip(np.rint(product / scale) + zero, least, most) - zero) * scale
    assert np.abs(run(model, {"x": x})[0] - want).max() <= scale.max() * 1.01
    assert np.mean(np.abs(run(model, {"x": x})[0] - want) > 1e-5) < .1


@pytest.mark.parametrize("scales", [(), (6,)])
def test_contributed_gemm(scales):
    g = Qdq(np.uint8)
    b, b_scale, c = random_bytes(np.int8, (9, 6)), RNG.uniform(.01, .02, scales).astype(F32), RNG.integers(-900, 900, 6).astype(np.int32)
    x, a, y = g.name("x"), g.parameters(.05), g.parameters()
    g.inputs[x] = random_bytes(np.uint8, (4, 9))
    weights = [g.constant(b), g.constant(b_scale), g.constant(np.zeros(scales, np.int8))]
    out, real = g.name("contrib"), g.constant((c * F32(.05) * b_scale).astype(F32))
    g.nodes.append(helper.make_node("QGemm", [x, *a, *weights, g.constant(c), *y], [out], domain="com.microsoft"))
    product = g.node("Gemm", [g.node("DequantizeLinear", [x, *a]), g.node("DequantizeLinear", weights, **({"axis": 1} if scales else {})), real])
    pairs_agree(g, [(out, g.quantize(product, y))])


@pytest.mark.parametrize("scales", [(), (6,)])
@pytest.mark.parametrize("biased", [False, True])
def test_contributed_products(scales, biased):
    """MatMulIntegerToFloat and DynamicQuantizeMatMul, which ONNX Runtime makes of what its quantizer writes."""
    x, a, b = RNG.normal(size=(2, 4, 9)).astype(F32), random_bytes(np.uint8, (2, 4, 9)), random_bytes(np.int8, (9, 6))
    scale, zero = RNG.uniform(.01, .02, scales).astype(F32), RNG.integers(-9, 9, scales).astype(np.int8)
    bias = RNG.normal(size=6).astype(F32)
    constants = dict(b=b, s=scale, z=zero, t=np.float32(.03), u=np.uint8(117), c=bias)
    end = ["c"] if biased else []
    nodes = [helper.make_node("MatMulIntegerToFloat", ["a", "b", "t", "s", "u", "z", *end], ["y"], domain="com.microsoft"),
             helper.make_node("DynamicQuantizeMatMul", ["x", "b", "s", "z", *end], ["w"], domain="com.microsoft")]
    model = model_of(nodes, dict(a=a, x=x), constants, ["y", "w"], 17)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    low, high = min(x.min(), 0), max(x.max(), 0)
    step = F32(high - low) / F32(255)
    q = np.clip(np.rint(x / step) + np.rint(-low / step), 0, 255)
    reals = [((v - z) * float(s)) @ ((b.astype(float) - zero) * scale) + (bias if biased else 0)
             for v, z, s in ((a.astype(float), 117, .03), (q, np.rint(-low / step), step))]
    for options in ((), ("--no-optimize",), lib.REFERENCE):
        for got, want in zip(run(model, dict(a=a, x=x), *options), reals):
            np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("dtype, shape, block", [(np.int8, (5,), 0), (np.int8, (4, 5), 4), ("int4", (4, 5), 4), ("uint4", (5,), 0)])
def test_weights_alone(dtype, shape, block):
    """Quantized weights of a float product become floats once, before any run."""
    import ml_dtypes
    g = Qdq(np.uint8)
    w = RNG.integers(0, 8, (16, 5)).astype(getattr(ml_dtypes, dtype) if isinstance(dtype, str) else dtype)
    g.inputs["x"] = RNG.uniform(-1, 1, (3, 16)).astype(F32)
    attrs = {"block_size": block, "axis": 0} if block else {"axis": 1}
    weights = g.node("DequantizeLinear", [g.constant(w), g.constant(RNG.uniform(.01, .02, shape).astype(F32))], **attrs)
    g.check([g.node("MatMul", ["x", weights])], {"MatMul"}, {"DequantizeLinear", "QMatMul"})


@pytest.mark.parametrize("name", ["quant_qdq", "quant_integer"])
def test_products_of_models_run_on_integers(name):
    """No other pass may take a convolution before those that keep it on integers."""
    folder = lib.ROOT / "models" / name
    operators = operators_of(onnx.load(folder / "model.onnx"), np.load(folder / "inputs.npz"))
    assert {"QConv", "QMatMul"} <= operators and not {"Conv", "MatMul", "Gemm"} & operators
