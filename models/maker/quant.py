"""Quantized models. A float network is run in double precision to learn the range of each value; its integer forms are
then written from the same weights: Quantize/DequantizeLinear pairs, and the operators that work on integers.

Inputs are drawn until no value lies within 2e-4 steps of a rounding tie, so that every right executor gives the same
integers everywhere, whatever the order of its sums.
"""

import numpy as np
from onnx import TensorProto

from . import reference
from .case import case
from .graph import Graph
from .vision import pictures

# name, c_in, c_out, kernel, stride, group: the convolutions of the float network, a Relu behind each but the last
LAYERS = [("conv0", 1, 8, 3, 1, 1), ("conv1", 8, 8, 3, 2, 8), ("conv2", 8, 16, 1, 1, 1), ("conv3", 16, 16, 3, 1, 1)]
SIZE, N_CLASSES = 10, 6


class Net:
    """The float network's weights, and the least and largest of each of its values on data."""

    def __init__(self, g):
        x = g.input("image", "float", "N", 1, SIZE, SIZE)
        for name, c_in, c_out, k, stride, group in LAYERS:
            before, x = x, g.conv(name, x, c_in, c_out, k, stride=stride, group=group, bias=True)
            if name != "conv3":
                x = g.op("Relu", x, name=f"{name}.relu")
        x = g.op("Relu", g.op("Add", x, before, name="add"), name="add.relu")
        x = g.op("MaxPool", x, name="pool", kernel_shape=[2, 2], strides=[2, 2])
        x = g.op("Flatten", g.op("GlobalAveragePool", x, name="mean"), name="flatten", axis=1)
        g.gemm("fc", x, 16, N_CLASSES, out="logits")
        g.output("logits", "float", "N", N_CLASSES)
        model = g.model("float_net", "", {"": 17}, 8)
        values, _ = reference.run(model, pictures(1, SIZE, SIZE)(g.rng, 32), every=True)
        self.range = {k: (min(0.0, v.min()), max(0.0, v.max())) for k, v in values.items()}
        self.weights = {k: v for k, v in values.items() if k.endswith((".weight", ".bias"))}


def unsigned(low, high):
    """Scale and zero point of uint8 for a range that holds 0."""
    scale = np.float32((high - low) / 255)
    return scale, np.uint8(np.rint(-low / scale))


def signed(low, high):
    """Scale and zero point of int8."""
    scale, zero = unsigned(low, high)
    return scale, np.int8(int(zero) - 128)


def symmetric(w, axis):
    """int8 weights without zero point, and one float32 scale per index of `axis` (one in all when None)."""
    others = tuple(i for i in range(w.ndim) if i != axis) if axis is not None else None
    scale = (np.abs(w).max(axis=others, keepdims=axis is not None) / 127).astype(np.float32)
    return np.clip(np.rint(w / scale), -127, 127).astype(np.int8), scale.reshape(-1) if axis is not None else scale


class Pairs:
    """Writes QuantizeLinear-DequantizeLinear pairs around the float operators."""

    def __init__(self, g, net):
        self.g, self.net, self.scale = g, net, {}

    def pair(self, x, like, kind=signed):
        """x through its 8-bit grid; `like` is the float network's value with the range."""
        scale, zero = kind(*self.net.range[like])
        names = self.g.init(f"{like}.scale", scale), self.g.init(f"{like}.zero", zero, zero.dtype)
        q = self.g.op("QuantizeLinear", x, *names, name=f"{like}.quantize")
        dq = self.g.op("DequantizeLinear", q, *names, name=f"{like}.dequantize")
        self.scale[dq] = scale
        return dq

    def constant(self, name, x, axis):
        """Weight and bias behind DequantizeLinear: int8 per output channel; int32 at the product of the scales."""
        g, (w, scale) = self.g, symmetric(self.net.weights[f"{name}.weight"], axis)
        bias_scale = self.scale[x] * scale
        bias = np.rint(self.net.weights[f"{name}.bias"] / bias_scale)
        made = []
        for part, q, s in (("weight", w, scale), ("bias", bias.astype(np.int32), bias_scale)):
            names = g.init(f"{name}.{part}", q, q.dtype), g.init(f"{name}.{part}.scale", s)
            made.append(g.op("DequantizeLinear", *names, name=f"{name}.{part}.dequantize", axis=0))
        return made


@case(
    "Quantized CNN, QuantizeLinear-DequantizeLinear pairs: int8 and uint8 activations, int8 weights per channel, int32"
    " biases, residual Add",
    n_test=4,
)
def quant_qdq(g):
    net = Net(Graph(g.rng))
    pairs = Pairs(g, net)
    x = pairs.pair(g.input("image", "float", "N", 1, SIZE, SIZE), "image")
    for name, c_in, c_out, k, stride, group in LAYERS:
        before, (w, b) = x, pairs.constant(name, x, axis=0)
        shape = {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": [k // 2] * 4}
        x, value = g.op("Conv", x, w, b, name=name, group=group, **shape), f"{name}.out"
        if name != "conv3":
            x, value = g.op("Relu", x, name=f"{name}.relu"), f"{name}.relu.out"
        x = pairs.pair(x, value, unsigned if name == "conv1" else signed)
    x = g.op("Relu", g.op("Add", x, before, name="add"), name="add.relu")
    x = pairs.pair(x, "add.relu.out")
    x = pairs.pair(g.op("MaxPool", x, name="pool", kernel_shape=[2, 2], strides=[2, 2]), "pool.out")
    x = pairs.pair(g.op("Flatten", g.op("GlobalAveragePool", x, name="mean"), name="flatten", axis=1), "flatten.out")
    w, b = pairs.constant("fc", x, axis=0)
    x = pairs.pair(g.op("Gemm", x, w, b, name="fc", transB=1), "logits")
    g.op("Identity", x, name="logits.identity", out="logits")
    g.output("logits", "float", "N", N_CLASSES)
    return pictures(1, SIZE, SIZE)


def grid(g, net, value):
    """Initializers of scale and zero point of a uint8 value."""
    scale, zero = unsigned(*net.range[value])
    return g.init(f"{value}.scale", scale), g.init(f"{value}.zero", zero, np.uint8)


def qlinear_conv(g, net, layer, x, before, after):
    """A QLinearConv between the grids of two of the float network's values; clipping at 0 is the Relu between them."""
    name, _, _, k, stride, group = layer
    w, scale = symmetric(net.weights[f"{name}.weight"], axis=0)
    bias = np.rint(net.weights[f"{name}.bias"] / (unsigned(*net.range[before])[0] * scale))
    weight = (
        g.init(f"{name}.weight", w, np.int8),
        g.init(f"{name}.weight.scale", scale),
        g.init(f"{name}.weight.zero", np.zeros(len(w)), np.int8),
    )
    grids = (f"{before}.scale", f"{before}.zero", *weight, *grid(g, net, after))
    shape = {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": [k // 2] * 4}
    return g.op("QLinearConv", x, *grids, g.init(f"{name}.bias", bias, np.int32), name=name, group=group, **shape)


def dynamic(g, name, op_type, x, w, **attributes):
    """`op_type` (MatMulInteger or ConvInteger) on float x quantized as it comes and uint8 w, scaled back to float."""
    w, scale = symmetric(w, axis=None)
    outs = tuple(f"{name}.{part}" for part in ("x", "x_scale", "x_zero"))
    q, x_scale, x_zero = g.op("DynamicQuantizeLinear", x, name=f"{name}.quantize", out=outs)
    weight = g.init(f"{name}.weight", w.astype(np.int16) + 128, np.uint8)
    y = g.op(op_type, q, weight, x_zero, g.init(f"{name}.weight.zero", 128, np.uint8), name=name, **attributes)
    y = g.op("Cast", y, name=f"{name}.cast", to=TensorProto.FLOAT)
    scales = g.op("Mul", x_scale, g.init(f"{name}.weight.scale", scale), name=f"{name}.scales")
    return g.op("Mul", y, scales, name=f"{name}.rescale")


@case(
    "Quantized CNN of integer operators: QLinearConv (per channel, depthwise), MaxPool on uint8, QLinearMatMul;"
    " DynamicQuantizeLinear with MatMulInteger and ConvInteger (these depend on the batch)",
    n_test=4,
)
def quant_integer(g):
    net = Net(Graph(g.rng))
    image = g.input("image", "float", "N", 1, SIZE, SIZE)
    x, value = g.op("QuantizeLinear", image, *grid(g, net, "image"), name="image.quantize"), "image"
    for layer in LAYERS[:3]:
        x, value = qlinear_conv(g, net, layer, x, value, f"{layer[0]}.relu.out"), f"{layer[0]}.relu.out"
    x = g.op("MaxPool", x, name="pool", kernel_shape=[5, 5], out="peaks")
    x = g.op("Flatten", x, name="flatten", axis=1)

    w, scale = symmetric(net.weights["fc.weight"].T, axis=None)
    weight = g.init("fc.weight", w, np.int8), g.init("fc.weight.scale", scale), g.init("fc.weight.zero", 0, np.int8)
    y_grid = g.init("fc.scale", np.abs(net.range["logits"]).max() / 64), g.init("fc.zero", 128, np.uint8)
    x = g.op("QLinearMatMul", x, f"{value}.scale", f"{value}.zero", *weight, *y_grid, name="fc")
    x = g.op("DequantizeLinear", x, *y_grid, name="fc.dequantize")
    x = dynamic(g, "mix", "MatMulInteger", x, g.normal((N_CLASSES, N_CLASSES), 0.4))
    x = g.op("Add", x, g.init("mix.bias", g.normal(N_CLASSES, 0.2)), name="mix.add")
    g.op("Softmax", x, name="softmax", axis=-1, out="probabilities")

    shape = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    x = dynamic(g, "edge", "ConvInteger", image, net.weights["conv0.weight"], **shape)
    g.op("Relu", x, name="edge.relu", out="edges")
    g.output("peaks", "uint8", "N", 16, 1, 1)
    g.output("probabilities", "float", "N", N_CLASSES)
    g.output("edges", "float", "N", 8, SIZE // 2, SIZE // 2)
    return pictures(1, SIZE, SIZE)
