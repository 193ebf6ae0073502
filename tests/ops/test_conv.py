"""Convolutions as sessions run them, in models of several: groups of every size, few channels on
either side, long kernels and large strides, residuals and concatenations. Against the reference evaluation, and the same
bits for every ISA and number of threads."""
import os
import pathlib
import tempfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nodes as lib


class Net:
    opset, ir = 15, 8

    def __init__(self, rng, shape):
        self.rng, self.nodes, self.weights, self.n, self.shape = rng, [], [], 0, shape

    def node(self, op, inputs, **attrs):
        self.n += 1
        self.nodes.append(helper.make_node(op, inputs, [f"v{self.n}"], **attrs))
        return f"v{self.n}"

    def constant(self, *shape):
        self.n += 1
        a = (self.rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5).astype(np.float32)
        self.weights.append(numpy_helper.from_array(a, f"w{self.n}"))
        return f"w{self.n}"

    def conv(self, x, m, c, *kernel, groups=1, **attrs):
        inputs = [x, self.constant(m, c // groups, *kernel), self.constant(m)]
        return self.node("Conv", inputs, group=groups, kernel_shape=kernel, **attrs)

    def bn(self, x, c):
        positive = numpy_helper.from_array(self.rng.uniform(0.5, 2, c).astype(np.float32), f"p{self.n}")
        self.weights.append(positive)
        return self.node("BatchNormalization", [x, self.constant(c), self.constant(c), self.constant(c), positive.name])

    def relu(self, x):
        return self.node("Relu", [x])

    def model(self, y):
        graph = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
                                  [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=self.ir)


def shuffle_net(rng):
    n = Net(rng, [2, 24, 9, 11])
    y = n.relu(n.conv("x", 68, 24, 1, 1, groups=4))
    y = n.conv(y, 68, 68, 3, 3, groups=68, pads=[1, 1, 1, 1], strides=[2, 2])
    return n.model(n.relu(n.conv(y, 136, 68, 1, 1, groups=4)))


def shuffled_channels(rng):
    n = Net(rng, [2, 3, 12, 10])
    n.weights += [numpy_helper.from_array(np.array(a), name) for a, name in
                  (([2, 2, 19, 6, 5], "parted"), ([0, 38, 6, 5], "whole"), ([20, 18], "parts"))]
    y = n.relu(n.conv("x", 19, 3, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2]))
    z = n.relu(n.conv(y, 19, 19, 1, 1))
    y = n.node("Concat", [y, z], axis=1)
    y = n.node("Transpose", [n.node("Reshape", [y, "parted"])], perm=[0, 2, 1, 3, 4])
    y = n.node("Reshape", [y, "whole"])
    n.nodes.append(helper.make_node("Split", [y, "parts"], ["left", "right"], axis=1))
    y = n.conv("left", 20, 20, 3, 3, groups=20, pads=[1, 1, 1, 1])
    y = n.relu(n.conv(n.node("Concat", ["right", y, z], axis=1), 21, 57, 1, 1))
    n.weights += [numpy_helper.from_array(np.array([a]), name) for a, name in ((-9, "from"), (99, "to"), (1, "axis"))]
    return n.model(n.conv(n.node("Slice", [y, "from", "to", "axis"]), 9, 9, 3, 3))


def small_groups(rng):
    n = Net(rng, [1, 48, 10, 13])
    y = n.relu(n.conv("x", 48, 48, 3, 3, groups=12, pads=[1, 1, 1, 1]))
    z = n.conv(y, 48, 48, 5, 3, groups=6, pads=[2, 1, 2, 1])
    return n.model(n.relu(n.node("Add", [z, y])))


def odd_groups(rng):
    n = Net(rng, [2, 60, 8, 9])
    y = n.conv("x", 51, 60, 3, 3, groups=3, strides=[2, 1], dilations=[1, 2], pads=[1, 2, 1, 2])
    return n.model(n.node("Sigmoid", [y]))


def few_outputs(rng):
    n = Net(rng, [2, 8, 14, 37])
    y = n.relu(n.conv("x", 8, 8, 3, 9, pads=[1, 4, 1, 4]))
    z = n.conv(y, 8, 8, 3, 3, pads=[1, 1, 1, 1])
    y = n.relu(n.node("Add", [y, z]))
    y = n.relu(n.conv(y, 32, 8, 5, 5, strides=[1, 3], pads=[2, 1, 2, 1]))
    y = n.conv(y, 1, 32, 7, 3, pads=[3, 1, 3, 1])
    return n.model(n.node("Sigmoid", [y]))


def long_kernels(rng):
    n = Net(rng, [2, 1, 1200])
    y = n.conv("x", 33, 1, 128, strides=[40])
    z = n.conv("x", 33, 1, 128, strides=[40])
    return n.model(n.node("Concat", [n.node("Mul", [y, y]), n.node("Mul", [z, z])], axis=1))


def half_bands(rng):
    n = Net(rng, [1, 1, 1, 900])
    y = n.conv("x", 1, 1, 1, 64, strides=[1, 2])
    return n.model(n.conv(y, 20, 1, 1, 64, strides=[1, 7]))


def few_inputs(rng):
    n = Net(rng, [2, 15, 70])
    y = n.relu(n.conv("x", 32, 15, 7, strides=[2], pads=[3, 3]))
    z = n.conv(y, 32, 32, 5, pads=[8, 8], dilations=[4])
    return n.model(n.relu(n.node("Add", [y, z])))


def narrow(rng):
    n = Net(rng, [2, 12, 40, 1])
    y = n.relu(n.conv("x", 12, 12, 5, 1, pads=[2, 0, 2, 0]))
    y = n.relu(n.conv(y, 8, 12, 9, 1))
    return n.model(n.conv(y, 24, 8, 3, 1))


def dense_block(rng):
    n = Net(rng, [1, 3, 28, 28])
    y, c = n.relu(n.conv("x", 32, 3, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2])), 32
    for _ in range(3):
        z = n.conv(n.relu(n.bn(y, c)), 64, c, 1, 1)
        z = n.conv(n.relu(n.bn(z, 64)), 16, 64, 3, 3, pads=[1, 1, 1, 1])
        y, c = n.node("Concat", [y, z], axis=1), c + 16
    y = n.conv(n.relu(n.bn(y, c)), 40, c, 1, 1)
    return n.model(n.node("AveragePool", [y], kernel_shape=[2, 2], strides=[2, 2]))


def volume(rng):
    n = Net(rng, [1, 2, 6, 9, 20])
    y = n.relu(n.conv("x", 6, 2, 3, 3, 3, pads=[1, 1, 1, 1, 1, 1], strides=[1, 2, 1]))
    return n.model(n.conv(y, 6, 6, 2, 2, 3, groups=2))


def computed_weights(rng):
    """Each by what its input holds, as in dynamic filter networks."""
    n = Net(rng, [2, 3, 18, 20])

    def weighted(y, op, weights, **attrs):
        gain = n.node("Sigmoid", [n.node("ReduceMax", [y], keepdims=0)])
        return n.relu(n.node(op, [y, n.node("Mul", [n.constant(*weights), gain])], **attrs))

    y = weighted("x", "Conv", (20, 3, 3, 3), strides=[2, 1])
    y = weighted(y, "Conv", (20, 1, 3, 3), group=20, pads=[1, 1, 1, 1])
    y = weighted(y, "Conv", (36, 10, 3, 3), group=2, pads=[1, 1, 1, 1])
    y = weighted(y, "ConvTranspose", (36, 17, 3, 3), strides=[2, 2])
    return n.model(weighted(y, "Conv", (5, 17, 3, 3)))


def drawn_transposes(rng, dims, shape):
    """ConvTransposes of one image, of drawn attributes, all their outputs in one row."""
    n, rows, c = Net(rng, shape), [], shape[1]
    n.weights.append(numpy_helper.from_array(np.array([-1]), "row"))
    for _ in range(24):
        group = int(rng.choice([g for g in (1, 1, 1, 2, c // 2, c) if c % g == 0]))
        m = group * int(rng.choice([1, 1, 2, 3, 16, 20]))
        kernel, stride, dilation = (rng.integers(1, most, dims) for most in ((9, 6, 4)[dims - 1], 4, 3))
        if rng.random() < 0.3:
            stride[:] = 1
        reach = (kernel - 1) * dilation
        attrs = dict(strides=stride.tolist(), dilations=dilation.tolist(), kernel_shape=kernel.tolist())
        full = (np.array(shape[2:]) - 1) * stride + reach + 1
        kind = rng.integers(5)
        if kind == 0:
            attrs["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        elif kind == 1:
            attrs["output_shape"] = [int(rng.integers(1, f + s)) for f, s in zip(full, stride)]
        else:
            pads = [int(rng.integers(0, r + 1)) for r in reach]
            attrs["pads"] = pads + [int(rng.integers(0, r - p + 1)) for r, p in zip(reach, pads)]
            attrs["output_padding"] = [int(rng.integers(0, s)) for s in stride]
        inputs = ["x", n.constant(c, m // group, *kernel)] + [n.constant(m)] * int(rng.integers(2))
        y = n.node("ConvTranspose", inputs, group=group, **attrs)
        y = n.relu(y) if rng.integers(2) else n.node("Add", [n.node("Sigmoid", [y]), y])
        rows.append(n.node("Reshape", [y, "row"]))
    return n.model(n.node("Concat", rows, axis=0))


def transposes_1d(rng):
    return drawn_transposes(rng, 1, [2, 12, 17])


def transposes_2d(rng):
    return drawn_transposes(rng, 2, [2, 32, 7, 9])


def transposes_3d(rng):
    return drawn_transposes(rng, 3, [1, 6, 3, 4, 5])


def vocoder(rng):
    n = Net(rng, [2, 16, 23])
    y = n.relu(n.node("ConvTranspose", ["x", n.constant(16, 20, 8), n.constant(20)], strides=[4], pads=[2, 2]))
    y = n.node("ConvTranspose", [y, n.constant(20, 2, 400), n.constant(2)], strides=[160], output_padding=[7])
    return n.model(n.node("Tanh", [y]))


def decoder(rng):
    n = Net(rng, [2, 24, 6, 7])
    y = n.relu(n.node("ConvTranspose", ["x", n.constant(24, 32, 2, 2), n.constant(32)], strides=[2, 2]))
    y = n.relu(n.node("ConvTranspose", [y, n.constant(32, 24, 3, 3), n.constant(24)], pads=[1, 1, 1, 1]))
    y = n.node("ConvTranspose", [y, n.constant(24, 1, 2, 2), n.constant(1)], strides=[2, 2])
    return n.model(n.node("Sigmoid", [y]))


def resized(rng):
    n = Net(rng, [2, 20, 9, 7])
    n.weights += [numpy_helper.from_array(np.array(a, t), name) for a, t, name in
                  (([1, 1, 2, 2], np.float32, "double"), ([1, 1, 1, 0.5], np.float32, "narrow"), ([2, 24, 18, 14], np.int64, "size"))]
    y = n.relu(n.conv("x", 24, 20, 3, 3, pads=[1, 1, 1, 1]))
    parts = [n.node("Resize", [y, "", "double"], mode="linear"), n.node("Resize", [y, "", "", "size"], mode="nearest"),
             n.node("Resize", [y, "", "double"], mode="cubic"),
             n.node("Resize", [n.conv(y, 32, 24, 1, 1), "", "double"], mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")]
    y = n.conv(n.node("Concat", parts, axis=1), 40, 104, 3, 3)
    y = n.conv(n.relu(n.node("Resize", [y, "", "narrow"], mode="linear", coordinate_transformation_mode="align_corners")), 8, 40, 1, 1)
    return n.model(n.node("Resize", [y, "", "double"], mode="linear"))


def lines(rng):
    """In one dimension: strides and dilations that meet every phase of a strip, long ones in several."""
    n = Net(rng, [2, 40, 2500])
    y = n.relu(n.conv("x", 32, 40, 4, strides=[3], pads=[3, 1]))
    z = n.conv(y, 32, 32, 5, pads=[8, 8], dilations=[4])
    y = n.relu(n.node("Add", [z, y]))
    return n.model(n.conv(y, 48, 32, 6, groups=2, strides=[2], dilations=[3], pads=[2, 0]))


def activated(rng):
    """Written out Gelus and slopes by channel between convolutions."""
    n = Net(rng, [2, 20, 9, 31])
    n.weights += [numpy_helper.from_array(np.array(a, np.float32), name) for a, name in
                  ((2**0.5, "root"), (1, "one"), (0.5, "half"), (3, "three"), (0.044715, "c"), (0.7978845608, "d"))]
    y = n.conv("x", 20, 20, 3, 3, pads=[1, 1, 1, 1])
    y = n.node("Mul", [n.node("Mul", [y, n.node("Add", [n.node("Erf", [n.node("Div", [y, "root"])]), "one"])]), "half"])
    y = n.conv(n.node("PRelu", [n.conv(y, 36, 20, 3, 3), n.constant(36, 1, 1)]), 24, 36, 1, 1)
    z = n.node("Mul", [n.node("Add", [y, n.node("Mul", [n.node("Pow", [y, "three"]), "c"])]), "d"])
    y = n.node("Mul", [n.node("Mul", [y, n.node("Add", [n.node("Tanh", [z]), "one"])]), "half"])
    return n.model(n.conv(y, 8, 24, 1, 1))


def inverted_residual(rng, size=120, read_twice=False):
    """Depthwise of a pointwise convolution that makes too much to stay near, one after another."""
    n = Net(rng, [2, 17, size, size])
    y = n.node("HardSwish", [n.conv("x", 40, 17, 1, 1)])
    z = n.conv(y, 40, 40, 5, 3, groups=40, strides=[1, 2], pads=[2, 1, 2, 1])
    if read_twice:
        z = n.node("Add", [z, n.conv(y, 40, 40, 1, 1, strides=[1, 2])])
    z = n.relu(n.node("Add", [z, n.conv("x", 40, 17, 1, 1, strides=[1, 2])]))
    y = n.relu(n.conv(n.conv(z, 20, 40, 1, 1), 75, 20, 1, 1))
    return n.model(n.conv(n.relu(n.conv(y, 75, 75, 3, 3, groups=75, pads=[1, 1, 1, 1])), 8, 75, 1, 1))


NETS = [shuffle_net, shuffled_channels, small_groups, odd_groups, few_outputs, long_kernels, half_bands, few_inputs, narrow,
        dense_block, volume, computed_weights, transposes_1d, transposes_2d, transposes_3d, vocoder, decoder, resized,
        lines, activated, inverted_residual]


def run(folder, *options, **environment):
    out = folder / "out.npz"
    lib.subprocess.run([*lib.COMMAND, "run", folder / "model.onnx", "--inputs", folder / "in.npz", "--output", out, *options],
                       check=True, stdout=lib.subprocess.DEVNULL, env={**os.environ, **environment})
    with np.load(out) as archive:
        return archive[archive.files[0]]


@pytest.mark.parametrize("net", NETS, ids=lambda f: f.__name__)
def test_net(net):
    rng = np.random.default_rng(sum(net.__name__.encode()))
    model = net(rng)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "in.npz", x=rng.standard_normal(shape).astype(np.float32))
        want = run(folder, *lib.REFERENCE)
        bits = run(folder, "--threads", "1", INFOLD_CPU="ref")
        assert bits.shape == want.shape
        np.testing.assert_allclose(bits, want, rtol=1e-4, atol=1e-4 * float(np.abs(want).max()))
        for isa, threads in ("avx2", "1"), ("avx512", "1"), ("avx512", "3"):
            assert run(folder, "--threads", threads, INFOLD_CPU=isa).tobytes() == bits.tobytes(), (isa, threads)


@pytest.mark.parametrize("options, n", [({}, 2), ({"size": 20}, 0), ({"read_twice": True}, 1)], ids=str)
def test_expansion(options, n):
    """Convolutions become one only where what lies between is large and nothing else reads it."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(inverted_residual(np.random.default_rng(3), **options), folder / "model.onnx")
        done = lib.subprocess.run([*lib.COMMAND, "run", folder / "model.onnx", "--input", "x=random", "--profile"],
                                  check=True, capture_output=True, text=True)
        assert sum(" expanded " in line for line in done.stdout.splitlines()) == n, done.stdout


def test_exact_conv():
    """An infinity reaches the outputs whose windows hold it, and no others, where Winograd's algorithm is refused."""
    rng = np.random.default_rng(7)
    n = Net(rng, [1, 64, 32, 32])
    model = n.model(n.conv("x", 64, 64, 3, 3, pads=[1, 1, 1, 1]))
    x = rng.standard_normal([1, 64, 32, 32]).astype(np.float32)
    x[0, 5, 10, 11] = np.inf
    reached = np.zeros(x.shape, bool)
    reached[:, :, 9:12, 10:13] = True
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "in.npz", x=x)
        assert (~np.isfinite(run(folder, "--exact-conv")) == reached).all()
        assert (~np.isfinite(run(folder)) & ~reached).any(), "the algorithm that is refused is not in use"


@pytest.mark.parametrize("op, shape", [("Conv", (6, 4, 3, 3)), ("ConvTranspose", (4, 2, 3, 3))])
@pytest.mark.parametrize("channels", (0, 3, 5, 20))
def test_channels_that_the_weights_are_not_for(op, shape, channels):
    """Where the input's channels are free, each run says how many there are."""
    graph = helper.make_graph([helper.make_node(op, ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", 8, 8])],
                              [onnx.ValueInfoProto(name="y")], [numpy_helper.from_array(np.ones(shape, np.float32), "w")])
    n = lib.Nodes(17)
    n.model = lambda: helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    n.inputs, n.outputs = [("x", np.ones((1, channels, 8, 8), np.float32))], ["y"]
    lib.refuses(n, f"{channels} channels")
