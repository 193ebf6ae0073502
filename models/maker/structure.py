"""Models about how a file is put together: subgraphs, functions, sparse and external tensors, mixed precision."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .case import case
from .norm import features
from .vision import pictures


def branch(g, name, x, c, k):
    """A Conv-BatchNormalization-Relu whose weights are initializers of the branch."""
    b = g.body()
    b.op("Identity", b.conv_bn(name, x, c, c, k=k), name=f"{name}.identity", out=f"{name}.result")
    b.output(f"{name}.result", "float", "N", 8, "H", "W")
    return b.proto(name)


def outer_branch(g, name, x, w, params):
    """A Conv-BatchNormalization on the outer graph's initializers."""
    b = g.body()
    y = b.conv_with(f"{name}.conv", x, w, 8)
    b.op("BatchNormalization", y, *params, name=f"{name}.bn", out=f"{name}.result")
    b.output(f"{name}.result", "float", "N", 8, "H", "W")
    return b.proto(name)


def refine_body(g, w):
    """x -> x/2 + Relu(BN(Conv(x))), w from outside; stops early once the mean of |x| passes `limit`."""
    b = g.body()
    b.input("step", "int64")
    b.input("go", "bool")
    x = b.input("state", "float", "N", 8, "H", "W")
    y = b.op("Relu", b.bn("refine.bn", b.conv_with("refine.conv", x, w, 8), 8), name="refine.relu")
    half = b.op("Mul", x, b.init("refine.half", 0.5), name="refine.mul")
    new = b.op("Add", half, y, name="refine.add", out="state_next")
    size = b.op(
        "ReduceMean", b.op("Abs", new, name="refine.abs"), name="refine.mean", axes=[1, 2, 3], keepdims=0, out="size"
    )
    b.op("Less", b.op("ReduceMax", size, name="refine.max", keepdims=0), "limit", name="refine.go", out="go_next")
    b.output("go_next", "bool")
    b.output("state_next", "float", "N", 8, "H", "W")
    b.output("size", "float", "N")
    return b.proto("refine")


def running_max_body(g):
    """Scan: the largest of each channel so far, row by row."""
    b = g.body()
    b.input("best", "float", "N", 8)
    b.input("row", "float", "N", 8, "W")
    peak = b.op("ReduceMax", "row", name="scan.peak", axes=[2], keepdims=0)
    b.op("Max", "best", peak, name="scan.max", out="best_next")
    b.op("Identity", "best_next", name="scan.emit", out="profile_row")
    b.output("best_next", "float", "N", 8)
    b.output("profile_row", "float", "N", 8)
    return b.proto("running_max")


@case(
    "Conv-BatchNormalization in the bodies of If and Loop, on weights of the body and of the outer graph; a Loop that"
    " may stop early; Scan"
)
def control_flow(g):
    x = g.input("image", "float", "N", 3, "H", "W")
    steps = g.input("steps", "int64")
    wide = g.input("wide", "bool")
    g.init("limit", 1.5)
    x = g.conv_bn("stem", x, 3, 8)
    x = g.op(
        "If", wide, name="choose", then_branch=branch(g, "wide5", x, 8, 5), else_branch=branch(g, "narrow1", x, 8, 1)
    )

    w = g.init("shared.weight", g.normal((8, 8, 3, 3), 0.17))
    params = g.bn_params("shared.bn", 8)
    mean = g.op("ReduceMean", x, name="dark.mean", keepdims=0)
    dark = g.op("Less", mean, g.init("dark.threshold", 0.0), name="dark.less")
    plain = g.body()
    plain.op("Neg", x, name="plain.neg", out="plain.result")
    plain.output("plain.result", "float", "N", 8, "H", "W")
    x = g.op(
        "If", dark, name="invert", then_branch=plain.proto("plain"), else_branch=outer_branch(g, "outer", x, w, params)
    )

    go = g.init("always", True, bool)
    x, sizes = g.op("Loop", steps, go, x, name="refine", out=("refined", "sizes"), body=refine_body(g, w))
    start = g.op("ReduceMin", x, name="scan.start", axes=[2, 3], keepdims=0)
    attributes = {"num_scan_inputs": 1, "scan_input_axes": [2], "scan_output_axes": [1]}
    g.op("Scan", start, x, name="scan", out=("peak", "profile"), body=running_max_body(g), **attributes)
    g.output("refined", "float", "N", 8, "H", "W")
    g.output(sizes, "float", "n_steps", "N")
    g.output("peak", "float", "N", 8)
    g.output("profile", "float", "N", "H", 8)
    draw = pictures(3, 10, 14)

    def feeds(rng, n):
        wide = rng.integers(2) == 1 if n > 2 else True
        return {**draw(rng, n), "steps": np.array(8), "wide": np.array(wide)}

    return feeds


DOMAIN = "infold.blocks"


def conv_bn_relu_function():
    """(x, w, scale, bias, mean, var) -> Relu(BN(Conv)), padding and stride left to the caller."""
    conv = helper.make_node("Conv", ["x", "w"], ["c"], name="conv")
    for name, kind in (("pads", "INTS"), ("strides", "INTS")):
        conv.attribute.add(name=name, ref_attr_name=name, type=kind)
    bn = helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"], name="bn")
    relu = helper.make_node("Relu", ["n"], ["y"], name="relu")
    inputs = ["x", "w", "scale", "bias", "mean", "var"]
    return helper.make_function(
        DOMAIN, "ConvBnRelu", inputs, ["y"], [conv, bn, relu], [helper.make_opsetid("", 17)], ["pads", "strides"]
    )


def gated_block_function():
    """A function that calls the other one, with an attribute that has a default."""
    call = helper.make_node(
        "ConvBnRelu",
        ["x", "w", "scale", "bias", "mean", "var"],
        ["t"],
        name="inner",
        domain=DOMAIN,
        pads=[1, 1, 1, 1],
        strides=[1, 1],
    )
    gate = helper.make_node("HardSigmoid", ["t"], ["s"], name="gate")
    gate.attribute.add(name="alpha", ref_attr_name="alpha", type="FLOAT")
    mul = helper.make_node("Mul", ["x", "s"], ["y"], name="mul")
    inputs = ["x", "w", "scale", "bias", "mean", "var"]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    default = helper.make_attribute("alpha", 0.2)
    return helper.make_function(
        DOMAIN, "GatedBlock", inputs, ["y"], [call, gate, mul], imports, attribute_protos=[default]
    )


@case(
    "Model-local functions with attributes, a default and one function calling another; Conv-BatchNormalization inside",
    domains={DOMAIN: 1},
)
def local_functions(g):
    g.functions += [conv_bn_relu_function(), gated_block_function()]

    def call(function, name, x, c_in, c_out, **attributes):
        w = g.init(f"{name}.weight", g.normal((c_out, c_in, 3, 3), np.sqrt(2 / (9 * c_in))))
        return g.op(function, x, w, *g.bn_params(name, c_out), name=name, domain=DOMAIN, **attributes)

    x = g.input("image", "float", "N", 3, 16, 16)
    x = call("ConvBnRelu", "block0", x, 3, 8, pads=[1, 1, 1, 1], strides=[2, 2])
    x = call("GatedBlock", "block1", x, 8, 8)
    x = call("GatedBlock", "block2", x, 8, 8, alpha=0.5)
    x = call("ConvBnRelu", "block3", x, 8, 12, pads=[0, 0, 0, 0], strides=[1, 1])
    g.head(x, 12, 5)
    return pictures(3, 16, 16)


def sparse_tensor(name, array, flat):
    """A mostly zero array as SparseTensorProto, its indices flat or one row per value."""
    array = array.astype(np.float32)
    at = np.flatnonzero(array) if flat else np.argwhere(array)
    values = numpy_helper.from_array(array[array != 0], name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(at.astype(np.int64)), array.shape)


@case(
    "Pruned classifier: weights as sparse Constant (indices by row) and as sparse initializer (flat);"
    " BatchNormalization behind MatMul",
    n_calibrate=64,
    n_test=5,
)
def sparse_weights(g):
    def pruned(n_in, n_out, kept):
        w = g.normal((n_in, n_out), np.sqrt(1 / (kept * n_in)))
        return np.where(g.rng.random((n_in, n_out)) < kept, w, 0)

    x = g.input("features", "float", "N", 32)
    w = g.op("Constant", name="layer0.weight", sparse_value=sparse_tensor("", pruned(32, 48, 0.1), flat=False))
    x = g.op("Relu", g.bn("layer0.bn", g.op("MatMul", x, w, name="layer0"), 48), name="layer0.relu")

    g.sparse_initializers.append(sparse_tensor("layer1.weight", pruned(48, 24, 0.15), flat=True))
    x = g.op("Relu", g.bn("layer1.bn", g.op("MatMul", x, "layer1.weight", name="layer1"), 24), name="layer1.relu")
    g.gemm("classifier", x, 24, 6, out="logits")
    g.output("logits", "float", "N", 6)
    return features(32)


@case("Weights of 1 kB and more in model.onnx.data, at multiples of 64 bytes; the rest inside", external=1024)
def external_data(g):
    x = g.input("image", "float", "N", 3, 24, 24)
    for i, (c_in, c_out) in enumerate([(3, 16), (16, 24), (24, 32)]):
        x = g.conv_bn(f"layer{i}", x, c_in, c_out, stride=2)
    x = g.op("Flatten", x, name="flatten", axis=1)
    g.gemm("classifier", x, 32 * 9, 10, out="logits")
    g.output("logits", "float", "N", 10)
    return pictures(3, 24, 24)


@case(
    "Half precision: float16 Conv, BatchNormalization with float32 statistics (opset 15) and with float16 ones, Casts"
    " at both ends",
    opset=15,
    rtol=4e-3,
)
def half_net(g):
    x = g.op("Cast", g.input("image", "float", "N", 3, 16, 16), name="narrow", to=TensorProto.FLOAT16)
    for i, (c_in, c_out) in enumerate([(3, 8), (8, 8), (8, 12)]):
        x = g.conv(f"layer{i}.conv", x, c_in, c_out, stride=1 + (i == 2))
        to_half(g, f"layer{i}.conv.weight")
        x = g.bn(f"layer{i}.bn", x, c_out)
        if i == 1:
            to_half(g, *(f"layer{i}.bn.{n}" for n in ("scale", "bias", "mean", "var")))
        else:
            to_half(g, f"layer{i}.bn.scale", f"layer{i}.bn.bias")
        x = g.op("Relu", x, name=f"layer{i}.relu")
    x = g.op("Flatten", g.op("GlobalAveragePool", x, name="pool"), name="flatten", axis=1)
    x = g.gemm("classifier", x, 12, 5)
    to_half(g, "classifier.weight", "classifier.bias")
    g.op("Cast", x, name="widen", out="logits", to=TensorProto.FLOAT)
    g.output("logits", "float", "N", 5)
    return pictures(3, 16, 16)


def to_half(g, *names):
    """Store initializers as float16."""
    for t in g.initializers:
        if t.name in names:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float16), t.name))
