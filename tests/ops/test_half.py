"""Models of 16-bit floats: what runs between products is rounded in their stores, in chains, or not at all where that
changes nothing. Each result has the bits that it has where every result is asked for, with every ISA and number of
threads; nothing leaves float between the two ends."""
import collections
import pathlib
import tempfile

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nodes as lib
from test_conv import Net, run
from test_products import Mlp

TYPES = {"float16": (np.float16, TensorProto.FLOAT16), "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16)}


def narrow(model, kind, all_outputs=False):
    """The model in a 16-bit type between Casts from and to float; with all_outputs the results of its nodes are outputs, too."""
    dtype, number = TYPES[kind]
    graph = model.graph
    for w in graph.initializer:
        if w.data_type == TensorProto.FLOAT:
            w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w).astype(dtype), w.name))
    for node in graph.node:
        node.input[:] = ["x16" if name == "x" else name for name in node.input]
    last, results = graph.output[0].name, [name for node in graph.node for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", ["x"], ["x16"], to=number))
    graph.node.append(helper.make_node("Cast", [last], ["y"], to=TensorProto.FLOAT))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    if all_outputs:
        graph.output.extend(helper.make_tensor_value_info(name, number, None) for name in results)
    model.opset_import[0].version = 22
    model.ir_version = 10
    return model


def mobile_block(rng):
    """Bounds, a residual, a depthwise convolution."""
    n = Net(rng, [2, 20, 9, 11])
    n.weights.append(numpy_helper.from_array(np.float32(6), "six"))
    n.weights.append(numpy_helper.from_array(np.float32(0), "zero"))
    x = n.conv("x", 21, 20, 1, 1)
    y = n.node("Clip", [n.conv(x, 33, 21, 1, 1), "zero", "six"])
    y = n.node("Clip", [n.conv(y, 33, 33, 3, 3, groups=33, pads=[1, 1, 1, 1]), "zero", "six"])
    y = n.node("Add", [n.conv(y, 21, 33, 1, 1), x])
    return n, y, {"Conv": 4, "Block": 1, "Unblock": 1, "RoundFloat16": 1}


def residual_block(rng):
    """Winograd's algorithm, a residual under bounds, pools."""
    n = Net(rng, [1, 16, 20, 18])
    y = n.relu(n.conv("x", 32, 16, 3, 3, pads=[1, 1, 1, 1]))
    z = n.conv(n.relu(n.conv(y, 32, 32, 3, 3, pads=[1, 1, 1, 1])), 32, 32, 3, 3, pads=[1, 1, 1, 1])
    y = n.relu(n.node("Add", [z, y]))
    y = n.node("MaxPool", [y], kernel_shape=[3, 3], strides=[2, 2])
    return n, n.conv(y, 24, 32, 1, 1), {"Conv": 4, "Block": 1, "Unblock": 1, "MaxPool": 1, "RoundFloat16": 1}


def activations(rng):
    """Functions, each rounded before and after."""
    n = Net(rng, [2, 17, 6, 7])
    y = n.node("Sigmoid", [n.conv("x", 40, 17, 3, 3)])
    y = n.node("LeakyRelu", [n.conv(y, 24, 40, 1, 1)], alpha=.3)
    y = n.node("HardSigmoid", [n.conv(y, 24, 24, 3, 3, groups=24)])
    return n, n.node("Tanh", [n.conv(y, 8, 24, 1, 1)]), {"Conv": 4, "Block": 1, "Unblock": 1, "RoundFloat16": 1}


def gates(rng):
    """Joined to an activation's result, and parts side by side."""
    n = Net(rng, [1, 32, 8, 8])
    y = n.node("Mul", [n.node("Sigmoid", [n.conv("x", 32, 32, 1, 1)]), n.conv("x", 32, 32, 1, 1)])
    y = n.node("Concat", [n.relu(n.conv(y, 16, 32, 1, 1)), n.relu(n.conv(y, 16, 32, 3, 3, pads=[1, 1, 1, 1]))], axis=1)
    return n, n.conv(y, 20, 32, 1, 1), {"Conv": 5, "Block": 1, "Unblock": 1, "Concat": 1, "RoundFloat16": 1}


def transformer(rng):
    """A bias of its own, GELU, residuals; products of what is computed."""
    n = Mlp(rng, [2, 5, 20])
    y = n.node("LayerNormalization", ["x", n.constant(20)])
    q, k = n.linear(y, 20, 20), n.node("Transpose", [n.linear(y, 20, 20)], perm=[0, 2, 1])
    y = n.node("Softmax", [n.node("MatMul", [q, k])])
    y = n.node("Add", ["x", n.linear(n.node("MatMul", [y, "x"]), 20, 20)])
    y = n.node("Add", [n.linear(n.node("Gelu", [n.linear(y, 20, 37)]), 37, 20, row=False), y])
    return n, y, {"MatMul": 4, "Attention": 1, "LayerNormalization": 1, "RoundFloat16": 2}


def heads(rng, division=False):
    """Attention by heads, scaled and masked; divided by a number that has no reciprocal it stays in parts."""
    n = Mlp(rng, [2, 5, 24])
    n.weights += [numpy_helper.from_array(np.array(a), name) for a, name in
                  (([0, 0, 3, 8], "parted"), ([2, 5, 24], "whole"), (np.float32(.25), "scale"), (np.float32(3), "three"),
                   (np.array([[[[0, 0, 0, 0, -65504]]]], np.float32), "mask"))]
    q, k, v = (n.node("Transpose", [n.node("Reshape", [n.linear("x", 24, 24), "parted"])], perm=perm)
               for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    y = n.node("MatMul", [q, k])
    y = n.node("Div", [y, "three"]) if division else n.node("Mul", [y, "scale"])
    y = n.node("MatMul", [n.node("Softmax", [n.node("Add", [y, "mask"])], axis=3), v])
    y = n.linear(n.node("Reshape", [n.node("Transpose", [y], perm=[0, 2, 1, 3]), "whole"]), 24, 16)
    return n, y, {"MatMul": 2, "Attention": 1, "RoundFloat16": 1}


def heads_apart(rng):
    n, y, _ = heads(rng, division=True)
    return n, y, {"MatMul": 4, "Split": 1, "Transpose": 4, "Chain": 1, "Softmax": 1, "RoundFloat16": 1}


def columns(rng):
    """Softmax along another axis, and LogSoftmax, in steps."""
    n = Mlp(rng, [2, 6, 30])
    y = n.node("Softmax", [n.node("MatMul", ["x", n.constant(30, 24)])], axis=1)
    return n, n.node("LogSoftmax", [n.node("MatMul", [y, n.constant(24, 9)])]), \
        {"MatMul": 2, "ReduceMax": 2, "ReduceSum": 2, "Chain": 6, "RoundFloat16": 2}


def read_twice(rng):
    """What another reads as well is not done in the store: the sums are rounded, and what follows is a chain."""
    n = Mlp(rng, [2, 6, 30])
    y = n.linear("x", 30, 24)
    return n, n.node("Sub", [n.node("Exp", [y]), n.node("Sqrt", [n.node("Abs", [y])])]), \
        {"MatMul": 1, "Chain": 1, "RoundFloat16": 1}


BLOCKS = [mobile_block, residual_block, activations, gates, transformer, heads, heads_apart, columns, read_twice]


def steps_of(folder):
    """The operators that a model runs as."""
    return collections.Counter(operator for operator, _ in lib.profile(folder / "model.onnx", "--inputs", folder / "in.npz"))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda f: f.__name__)
def test_block(block, kind):
    def made(all_outputs):
        n, y, steps = block(np.random.default_rng(len(block.__name__)))
        return narrow(n.model(y), kind, all_outputs), n.shape, steps
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model, shape, steps = made(True)
        np.savez(folder / "in.npz", x=np.random.default_rng(0).standard_normal(shape).astype(np.float32))
        onnx.save(model, folder / "model.onnx")
        want = run(folder, "--threads", "1")
        reference = run(folder, *lib.REFERENCE)
        onnx.save(made(False)[0], folder / "model.onnx")
        assert np.abs(want).max() > .1
        few = 2 ** (-8 if kind == "float16" else -5)
        np.testing.assert_allclose(want, reference, rtol=few, atol=few * float(np.abs(reference).max()))
        for isa, threads in ("ref", "1"), ("avx2", "1"), ("avx512", "1"), ("avx512", "3"):
            assert run(folder, "--threads", threads, INFOLD_CPU=isa).tobytes() == want.tobytes(), (isa, threads)
        other = {"float16": "RoundFloat16", "bfloat16": "RoundBFloat16"}[kind]
        assert steps_of(folder) == {(other if op == "RoundFloat16" else op): n for op, n in steps.items()}
