"""Models about BatchNormalization itself: where it stands, how it is written, what its opsets and modes mean."""

import numpy as np
from onnx import helper, numpy_helper

from .case import case
from .vision import pictures


def features(n_features, name="features"):
    """Feeds of vectors whose features differ in mean and spread."""

    def feeds(rng, n):
        k = np.arange(n_features)
        return {name: (rng.normal(size=(n, n_features)) * (0.5 + k % 3) + k % 5 - 2).astype(np.float32)}

    return feeds


@case(
    "Tabular classifier: BatchNorm1d behind MatMul, MatMul-Add and Gemm, in front of Gemm, and on the input",
    n_calibrate=64,
    n_test=5,
)
def mlp_bn(g):
    x = g.input("features", "float", "N", 24)
    x = g.bn("input.bn", x, 24)
    x = g.op("Relu", g.bn("layer0.bn", g.dense("layer0", x, 24, 48), 48), name="layer0.relu")
    x = g.op("Relu", g.bn("layer1.bn", g.dense("layer1", x, 48, 48, bias=False), 48), name="layer1.relu")
    x = g.op("Relu", g.bn("layer2.bn", g.gemm("layer2", x, 48, 32), 32), name="layer2.relu")
    x = g.op("Dropout", x, g.init("layer2.ratio", 0.3), name="layer2.dropout")
    x = g.gemm("classifier", g.bn("classifier.bn", x, 32), 32, 6)
    g.op("Softmax", x, name="softmax", out="probabilities", axis=1)
    g.output("probabilities", "float", "N", 6)
    return features(24)


def affine(g, name, x, c, rank=2):
    """Per-channel Mul and Add with values near 1 and 0."""
    shape = (c, *[1] * rank)
    x = g.op("Mul", x, g.init(f"{name}.factor", g.rng.uniform(0.5, 1.5, shape)), name=f"{name}.mul")
    return g.op("Add", x, g.init(f"{name}.shift", g.normal(shape, 0.3)), name=f"{name}.add")


@case(
    "Inference BatchNormalization written out, behind Conv: Mul-Add; Sub-Div-Mul-Add; with Sqrt of constants; NHWC"
    " between Transposes"
)
def bn_decomposed(g):
    x = g.input("image", "float", "N", 3, 16, 16)
    x = g.op("Relu", affine(g, "folded", g.conv("conv0", x, 3, 8), 8), name="relu0")

    x, shape = g.conv("conv1", x, 8, 8, bias=True), (8, 1, 1)
    x = g.op("Sub", x, g.init("spelled.mean", g.normal(shape, 0.5)), name="spelled.sub")
    x = g.op("Div", x, g.init("spelled.std", g.rng.uniform(0.8, 2.0, shape)), name="spelled.div")
    x = g.op("Relu", affine(g, "spelled", x, 8), name="relu1")

    x = g.conv("conv2", x, 8, 8)
    var, eps = g.init("rooted.var", g.rng.uniform(0.5, 3.0, (1, *shape))), g.init("rooted.epsilon", 1e-5)
    std = g.op("Sqrt", g.op("Add", var, eps, name="rooted.var_eps"), name="rooted.sqrt")
    inverse = g.op("Reciprocal", std, name="rooted.reciprocal")
    factor = g.op("Mul", inverse, g.init("rooted.scale", g.rng.uniform(0.5, 1.5, (1, *shape))), name="rooted.factor")
    moved = g.op("Mul", g.init("rooted.mean", g.normal((1, *shape), 0.5)), factor, name="rooted.moved")
    shift = g.op("Sub", g.init("rooted.bias", g.normal((1, *shape), 0.3)), moved, name="rooted.shift")
    x = g.op("Add", g.op("Mul", x, factor, name="rooted.mul"), shift, name="rooted.add")
    x = g.op("Relu", x, name="relu2")

    x = g.op("Transpose", g.conv("conv3", x, 8, 12), name="nhwc", perm=[0, 2, 3, 1])
    x = g.op("Mul", x, g.init("nhwc.factor", g.rng.uniform(0.5, 1.5, 12)), name="nhwc.mul")
    x = g.op("Add", x, g.init("nhwc.shift", g.normal(12, 0.3)), name="nhwc.add")
    x = g.op("Relu", g.op("Transpose", x, name="nchw", perm=[0, 3, 1, 2]), name="relu3")
    g.head(x, 12, 5)
    return pictures(3, 16, 16)


def bn_given(g, name, x, scale, bias, mean, var, **attributes):
    """BatchNormalization on values that exist already."""
    return g.op("BatchNormalization", x, scale, bias, mean, var, name=name, **attributes)


@case(
    "BatchNormalization in odd places: on the input, twice in a row, before padded and unpadded Conv, behind Concat and"
    " pools; shared weights, shared parameters, two readers, Constant and computed parameters, dead and negative"
    " channels",
)
def bn_edges(g):
    x = g.bn("input.bn", g.input("image", "float", "N", 3, 18, 18), 3)
    x = g.conv("valid", x, 3, 8, pad=0)
    x = g.bn("twice.bn1", g.bn("twice.bn0", x, 8), 8, epsilon=1e-3)
    stem = g.op("Relu", g.conv("padded", x, 8, 8), name="stem.relu")

    w = g.init("shared.weight", g.normal((8, 8, 3, 3), 0.17))
    a = g.bn("shared.bn_a", g.conv_with("shared.conv_a", stem, w, 8), 8)
    b = g.bn("shared.bn_b", g.conv_with("shared.conv_b", stem, w, 8, dilation=2, bias=True), 8)
    params = g.bn_params("common", 8)
    a = bn_given(g, "common.bn_a", g.conv("common.conv_a", a, 8, 8, k=1), *params)
    b = bn_given(g, "common.bn_b", g.conv("common.conv_b", b, 8, 8, k=1), *params)
    x = g.op("Relu", g.bn("concat.bn", g.op("Concat", a, b, name="concat", axis=1), 16), name="concat.relu")

    both = g.conv("read_twice", x, 16, 8, out="features")
    g.output("features", "float", "N", 8, 16, 16)
    x = g.op("Mul", g.bn("read_twice.bn", both, 8), both, name="read_twice.mul")
    x = g.bn("pooled.bn", g.op("MaxPool", x, name="pooled", kernel_shape=[2, 2], strides=[2, 2]), 8)

    w = g.op(
        "Reshape",
        g.init("computed.flat", g.normal(8 * 8 * 9, 0.17)),
        g.ints("computed.shape", 8, 8, 3, 3),
        name="computed",
    )
    x = g.conv_with("computed.conv", x, g.op("Identity", w, name="computed.identity"), 8, auto_pad="SAME_UPPER")
    scale = [1.2, -0.7, 0.0, 0.9, 1e-6, 1.0, -1.1, 0.4]
    values = (scale, g.normal(8, 0.3), g.normal(8, 0.5), [0.7, 2.0, 1.0, 1e-7, 0.0, 3.0, 0.5, 1.5])
    names = ("scale", "bias", "mean", "var")
    x = bn_given(g, "constant.bn", x, *(g.constant(f"constant.{n}", v) for n, v in zip(names, values)), epsilon=1e-2)
    x = g.op("GlobalAveragePool", g.op("Identity", x, name="constant.identity"), name="pool")
    x = g.bn("flat.bn", g.op("Flatten", x, name="flatten", axis=1), 8)
    g.gemm("classifier", x, 8, 5, out="logits")
    g.output("logits", "float", "N", 5)
    return pictures(3, 18, 18)


def list_initializers_as_inputs(g):
    """IR version 3: every initializer is a graph input with a default."""
    g.inputs.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in g.initializers)


@case(
    "An old file, IR version 3, opset 9: initializers listed as graph inputs, Unsqueeze'd and filled parameters",
    opset=9,
    ir=3,
)
def bn_opset9(g):
    x = g.input("data", "float", "N", 3, 16, 16)
    x = g.op("Relu", g.bn("bn0", g.conv("conv0", x, 3, 8, stride=2), 8, momentum=0.95), name="relu0")
    x = g.op("LRN", x, name="lrn", size=5, alpha=1e-3, beta=0.75, bias=2.0)
    c = g.ints("filled.shape", 8)
    ones = g.op("ConstantOfShape", c, name="filled.ones", value=numpy_helper.from_array(np.ones(1, np.float32)))
    zeros = g.op("ConstantOfShape", c, name="filled.zeros")
    x = bn_given(
        g, "bn1", g.conv("conv1", x, 8, 8), ones, zeros, g.init("bn1.mean", np.zeros(8)), g.init("bn1.var", np.ones(8))
    )
    x = g.op(
        "Mul",
        x,
        g.op("Unsqueeze", g.init("gain", g.rng.uniform(0.5, 1.5, 8)), name="gain.unsqueeze", axes=[1, 2]),
        name="gain.mul",
    )
    x = g.op("Relu", g.op("Add", x, g.init("shift", g.normal((8, 1, 1), 0.3)), name="shift.add"), name="relu1")
    x = g.op("AveragePool", x, name="pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    x = g.op("Reshape", x, g.ints("flat.shape", 0, -1), name="flat")
    x = g.gemm("fc", x, 128, 6)
    g.op("Softmax", x, name="prob.softmax", out="prob", axis=1)
    g.output("prob", "float", "N", 6)
    list_initializers_as_inputs(g)
    return pictures(3, 16, 16, name="data")


@case(
    "BatchNormalization of opset 6: is_test = 1 and spatial = 1 as attributes, Add with an axis",
    opset=6,
    ir=3,
    ort=False,
)
def bn_opset6(g):
    x = g.input("data", "float", "N", 3, 12, 12)
    x = g.op("Relu", g.bn("bn0", g.conv("conv0", x, 3, 8), 8, is_test=1, spatial=1), name="relu0")
    x = g.op(
        "Add", g.conv("conv1", x, 8, 8, k=1), g.init("bias1", g.normal(8, 0.3)), name="bias1.add", broadcast=1, axis=1
    )
    x = g.op("Relu", g.bn("bn1", x, 8, is_test=1), name="relu1")
    x = g.op("Flatten", g.op("GlobalMaxPool", x, name="pool"), name="flatten", axis=1)
    g.op(
        "Gemm",
        x,
        g.init("fc.weight", g.normal((8, 4), 0.35)),
        g.init("fc.bias", g.normal(4, 0.3)),
        name="fc",
        out="scores",
        broadcast=1,
    )
    g.output("scores", "float", "N", 4)
    list_initializers_as_inputs(g)
    return pictures(3, 12, 12, name="data")


@case(
    "Training-mode BatchNormalization: three outputs with new running statistics, then one output, then an inference"
    " one; a sample's result depends on its batch",
    n_test=4,
)
def bn_training(g):
    x = g.input("image", "float", "N", 3, 12, 12)
    x = g.conv("conv0", x, 3, 8)
    outs = ("bn0.out", "running_mean", "running_var")
    x = g.op("BatchNormalization", x, *g.bn_params("bn0", 8), name="bn0", out=outs, training_mode=1, momentum=0.8)[0]
    g.output("running_mean", "float", 8)
    g.output("running_var", "float", 8)
    x = g.conv("conv1", g.op("Relu", x, name="relu0"), 8, 8)
    outs = ("bn1.out", "bn1.running_mean", "bn1.running_var")
    x = g.op("BatchNormalization", x, *g.bn_params("bn1", 8), name="bn1", out=outs, training_mode=1)[0]
    x = g.conv_bn("conv2", g.op("Relu", x, name="relu1"), 8, 8)
    g.head(x, 8, 4)
    return pictures(3, 12, 12)


@case("Training-mode BatchNormalization of opset 9, told by its five outputs", opset=9, ir=4, ort=False, n_test=4)
def bn_training_opset9(g):
    x = g.input("image", "float", "N", 3, 12, 12)
    outs = ("bn.out", "running_mean", "running_var", "saved_mean", "saved_var")
    x = g.op("BatchNormalization", g.conv("conv", x, 3, 8), *g.bn_params("bn", 8), name="bn", out=outs, momentum=0.8)[0]
    for name in outs[1:]:
        g.output(name, "float", 8)
    g.head(g.op("Relu", x, name="relu"), 8, 4)
    return pictures(3, 12, 12)


def standardised_weight(g, name, c_in, c_out, k=3):
    """A filter normalised per output channel by a training-mode BatchNormalization: all of it constant."""
    w = g.init(f"{name}.raw", g.normal((c_out, c_in, k, k), 0.3) + 0.1)
    flat = g.op("Reshape", w, g.ints(f"{name}.flat", 1, c_out, -1), name=f"{name}.flatten")
    gain = g.init(f"{name}.gain", g.rng.uniform(0.5, 1.0, c_out) * np.sqrt(2 / (c_in * k * k)))
    params = (gain, *(g.constant(f"{name}.{n}", v * np.ones(c_out)) for n, v in (("zero", 0), ("mean", 0), ("var", 1))))
    outs = tuple(f"{name}.bn.{n}" for n in ("out", "running_mean", "running_var"))
    flat = g.op("BatchNormalization", flat, *params, name=f"{name}.bn", out=outs, training_mode=1)[0]
    return g.op("Reshape", flat, g.ints(f"{name}.shape", c_out, c_in, k, k), name=f"{name}.restore")


@case(
    "Weight standardisation: training-mode BatchNormalization of constants, and one over [1, N*C, ...] that means"
    " InstanceNormalization"
)
def bn_of_weights(g):
    x = g.input("image", "float", "N", 3, 12, 12)
    x = g.op("Relu", g.conv_with("conv0", x, standardised_weight(g, "weight0", 3, 8), 8, bias=True), name="relu0")
    x = g.conv_with("conv1", x, standardised_weight(g, "weight1", 8, 8), 8, bias=True)
    y = g.op("Reshape", x, g.ints("instance.rows", 1, -1, 12, 12), name="instance.merge")
    n = g.op(
        "Gather", g.op("Shape", y, name="instance.shape"), g.init("instance.one", [1], np.int64), name="instance.count"
    )
    params = [
        g.op("Expand", g.init(f"instance.{k}", v), n, name=f"instance.{k}s")
        for k, v in (("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("var", 1.0))
    ]
    outs = ("instance.out", "instance.running_mean", "instance.running_var")
    y = g.op("BatchNormalization", y, *params, name="instance.bn", out=outs, training_mode=1)[0]
    y = g.op("Reshape", y, g.op("Shape", x, name="instance.old_shape"), name="instance.split")
    g.head(g.op("Relu", y, name="relu1"), 8, 4)
    return pictures(3, 12, 12)
