"""Image and signal networks, BatchNormalization unfolded, weights random."""

import numpy as np
from onnx import TensorProto

from .case import case


def pictures(c, h, w, name="image"):
    """Feeds of smooth-ish random pictures: neighbouring pixels agree more than distant ones."""

    def feeds(rng, n):
        x = rng.normal(size=(n, c, h + 2, w + 2))
        x = (x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]) / 3**0.5
        x = (x[..., :-2] + x[..., 1:-1] + x[..., 2:]) / 3**0.5
        return {name: x.astype(np.float32)}

    return feeds


def basic_block(g, name, x, c_in, c_out, stride):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes (He et al. 2015)."""
    y = g.conv_bn(f"{name}.a", x, c_in, c_out, stride=stride)
    y = g.conv_bn(f"{name}.b", y, c_out, c_out, act=None)
    if stride != 1 or c_in != c_out:
        x = g.conv_bn(f"{name}.project", x, c_in, c_out, k=1, stride=stride, act=None)
    return g.op("Relu", g.op("Add", y, x, name=f"{name}.add"), name=f"{name}.relu")


@case("Residual classifier: basic blocks with identity and projected shortcuts, all Conv-BatchNormalization foldable")
def residual_net(g):
    x = g.input("image", "float", "N", 3, 32, 32)
    x = g.conv_bn("stem", x, 3, 16, k=5, stride=2)
    x = g.op("MaxPool", x, name="stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for i, (c_in, c_out, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 48, 2)]):
        x = basic_block(g, f"stage{i}.0", x, c_in, c_out, stride)
        x = basic_block(g, f"stage{i}.1", x, c_out, c_out, 1)
    g.head(x, 48, 10)
    return pictures(3, 32, 32)


def relu6(g, name, x):
    return g.op("Clip", x, "zero", "six", name=name)


def hard_swish(g, name, x):
    return g.op("HardSwish", x, name=name)


def hard_swish_by_clip(g, name, x):
    """x * clip(x + 3, 0, 6) / 6, as exporters before opset 14 wrote it."""
    t = g.op("Add", x, "three", name=f"{name}.shift")
    t = relu6(g, f"{name}.clip", t)
    return g.op("Div", g.op("Mul", x, t, name=f"{name}.mul"), "six", name=f"{name}.div")


def hard_swish_by_sigmoid(g, name, x):
    return g.op("Mul", x, g.op("HardSigmoid", x, name=f"{name}.gate", alpha=1 / 6, beta=0.5), name=f"{name}.mul")


def squeeze_excite(g, name, x, c, squeezed):
    s = g.op("ReduceMean", x, name=f"{name}.squeeze", axes=[2, 3], keepdims=1)
    s = g.op("Relu", g.conv(f"{name}.reduce", s, c, squeezed, k=1, bias=True), name=f"{name}.relu")
    s = g.conv(f"{name}.expand", s, squeezed, c, k=1, bias=True)
    return g.op("Mul", x, g.op("HardSigmoid", s, name=f"{name}.gate", alpha=1 / 6, beta=0.5), name=f"{name}.scale")


def inverted_residual(g, name, x, c_in, c_wide, c_out, k, stride, act, squeezed=0):
    """Expand 1x1, depthwise, project 1x1 without activation (Sandler et al. 2018; Howard et al. 2019)."""
    y = act(g, f"{name}.expand.act", g.conv_bn(f"{name}.expand", x, c_in, c_wide, k=1, act=None))
    y = g.conv_bn(f"{name}.depthwise", y, c_wide, c_wide, k=k, stride=stride, group=c_wide, act=None)
    y = act(g, f"{name}.depthwise.act", y)
    if squeezed:
        y = squeeze_excite(g, f"{name}.se", y, c_wide, squeezed)
    y = g.conv_bn(f"{name}.project", y, c_wide, c_out, k=1, act=None)
    return g.op("Add", x, y, name=f"{name}.add") if stride == 1 and c_in == c_out else y


@case(
    "Mobile classifier: inverted residuals, depthwise 3x3 and 5x5, squeeze-excite; hard-swish three ways, ReLU6 as Clip"
)
def mobile_net(g):
    for name, v in (("zero", 0), ("three", 3), ("six", 6)):
        g.init(name, v)
    x = g.input("image", "float", "N", 3, 48, 48)
    x = hard_swish(g, "stem.act", g.conv_bn("stem", x, 3, 16, stride=2, act=None))
    x = inverted_residual(g, "block0", x, 16, 32, 16, 3, 2, relu6)
    x = inverted_residual(g, "block1", x, 16, 48, 24, 3, 1, relu6)
    x = inverted_residual(g, "block2", x, 24, 64, 24, 3, 1, hard_swish_by_clip)
    x = inverted_residual(g, "block3", x, 24, 72, 40, 5, 2, hard_swish_by_sigmoid, squeezed=16)
    x = inverted_residual(g, "block4", x, 40, 96, 40, 5, 1, hard_swish, squeezed=24)
    x = hard_swish_by_clip(g, "last.act", g.conv_bn("last", x, 40, 128, k=1, act=None))
    x = g.op("GlobalAveragePool", x, name="last.pool")
    x = hard_swish(g, "widen.act", g.conv("widen", x, 128, 160, k=1, bias=True))
    x = g.op("Flatten", x, name="flatten", axis=1)
    g.gemm("classifier", x, 160, 10, out="logits")
    g.output("logits", "float", "N", 10)
    return pictures(3, 48, 48)


def bn_relu_conv(g, name, x, c_in, c_out, k, **more):
    x = g.op("Relu", g.bn(f"{name}.bn", x, c_in), name=f"{name}.relu")
    return g.conv(f"{name}.conv", x, c_in, c_out, k, **more)


@case("Pre-activation residual net: BatchNormalization before the activation, most of it not foldable backward")
def preact_net(g):
    x = g.input("image", "float", "N", 3, 32, 32)
    x = g.conv("stem", x, 3, 16, stride=2)
    for i, (c_in, c_out, stride) in enumerate([(16, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1)]):
        name, squeezed = f"block{i}", c_out // 2
        y = bn_relu_conv(g, f"{name}.a", x, c_in, squeezed, 1)
        y = bn_relu_conv(g, f"{name}.b", y, squeezed, squeezed, 3, stride=stride)
        y = bn_relu_conv(g, f"{name}.c", y, squeezed, c_out, 1)
        if c_in != c_out or stride != 1:
            x = g.conv(f"{name}.project", x, c_in, c_out, k=1, stride=stride)
        x = g.op("Add", x, y, name=f"{name}.add")
    x = g.op("Relu", g.bn("last.bn", x, 64), name="last.relu")
    g.head(x, 64, 10)
    return pictures(3, 32, 32)


@case("Densely connected net: BatchNormalization behind Concat with several readers, average-pooling transitions")
def dense_net(g):
    x, c, grow = g.input("image", "float", "N", 3, 32, 32), 16, 8
    x = g.conv_bn("stem", x, 3, c, stride=2)
    for stage in range(2):
        for i in range(3):
            name = f"stage{stage}.layer{i}"
            y = bn_relu_conv(g, f"{name}.a", x, c, 2 * grow, 1)
            y = bn_relu_conv(g, f"{name}.b", y, 2 * grow, grow, 3)
            x, c = g.op("Concat", x, y, name=f"{name}.concat", axis=1), c + grow
        if stage == 0:
            x, c = bn_relu_conv(g, "transition", x, c, c // 2, 1), c // 2
            x = g.op("AveragePool", x, name="transition.pool", kernel_shape=[2, 2], strides=[2, 2])
    x = g.op("Relu", g.bn("last.bn", x, c), name="last.relu")
    g.head(x, c, 10)
    return pictures(3, 32, 32)


def double_conv(g, name, x, c_in, c_out):
    return g.conv_bn(f"{name}.b", g.conv_bn(f"{name}.a", x, c_in, c_out), c_out, c_out)


@case("U-Net, any batch, height and width: ConvTranspose-BatchNormalization (plain and grouped), Resize, Concat skips")
def unet(g):
    x = g.input("image", "float", "N", 3, "H", "W")
    skips = []
    for i, (c_in, c_out) in enumerate([(3, 8), (8, 16), (16, 24)]):
        skips.append(double_conv(g, f"down{i}", x, c_in, c_out))
        x = g.op("MaxPool", skips[-1], name=f"down{i}.pool", kernel_shape=[2, 2], strides=[2, 2])
    x = double_conv(g, "bottom", x, 24, 32)

    x = g.conv_transpose("up2.deconv", x, 32, 24)
    x = g.op("Relu", g.bn("up2.bn", x, 24), name="up2.relu")
    x = double_conv(g, "up2", g.op("Concat", x, skips[2], name="up2.concat", axis=1), 48, 24)
    x = g.conv_transpose("up1.deconv", x, 24, 16, k=4, pad=1, group=2, bias=True)
    x = g.op("Relu", g.bn("up1.bn", x, 16), name="up1.relu")
    x = double_conv(g, "up1", g.op("Concat", x, skips[1], name="up1.concat", axis=1), 32, 16)
    x = g.op("Resize", x, "", g.init("up0.scales", [1, 1, 2, 2]), name="up0.resize", mode="nearest")
    x = g.conv_bn("up0.narrow", x, 16, 8)
    x = double_conv(g, "up0", g.op("Concat", x, skips[0], name="up0.concat", axis=1), 16, 8)
    x = g.conv("last", x, 8, 2, k=1, bias=True)
    g.op("Sigmoid", x, name="mask.sigmoid", out="mask")
    g.output("mask", "float", "N", 2, "H", "W")
    return pictures(3, 24, 40)


@case("Volume classifier: Conv3d, grouped Conv3d, BatchNorm3d, MaxPool3d, LeakyRelu, ConvTranspose3d")
def volume_net(g):
    x = g.input("volume", "float", "N", 1, 8, 16, 16)
    x = g.op("LeakyRelu", g.conv_bn("stem", x, 1, 8, rank=3, act=None), name="stem.act", alpha=0.1)
    x = g.op("MaxPool", x, name="pool1", kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    y = g.conv_bn("block.a", x, 8, 16, rank=3, group=4)
    y = g.conv_bn("block.b", y, 16, 8, k=1, rank=3, act=None)
    x = g.op("Relu", g.op("Add", x, y, name="block.add"), name="block.relu")
    x = g.conv_bn("down", x, 8, 16, rank=3, stride=2)
    x = g.op("Relu", g.bn("up.bn", g.conv_transpose("up.deconv", x, 16, 8, rank=3), 8), name="up.relu")
    x = g.op("ReduceMean", x, name="pool2", axes=[2, 3, 4], keepdims=0)
    g.gemm("classifier", x, 8, 4, out="logits")
    g.output("logits", "float", "N", 4)

    def feeds(rng, n):
        return {"volume": rng.normal(size=(n, 1, 8, 16, 16)).astype(np.float32)}

    return feeds


@case("Wave encoder, any length: causal dilated Conv1d behind Pad, BatchNorm1d of rank 3, gated tanh-sigmoid units")
def wave_net(g):
    x = g.input("wave", "float", "N", 1, "T")
    x, total = g.conv_bn("stem", x, 1, 16, k=7, stride=2, rank=1), None
    for i, dilation in enumerate([1, 2, 4, 8]):
        name = f"layer{i}"
        y = g.op("Pad", x, g.ints(f"{name}.pads", 0, 0, 2 * dilation, 0, 0, 0), name=f"{name}.pad", mode="constant")
        y = g.conv_bn(f"{name}.dilated", y, 16, 32, dilation=dilation, pad=0, rank=1, act=None)
        halves = g.op("Split", y, name=f"{name}.split", out=(f"{name}.signal", f"{name}.gate"), axis=1)
        a, b = (g.op(t, h, name=f"{name}.{t.lower()}") for t, h in zip(("Tanh", "Sigmoid"), halves))
        y = g.conv_bn(f"{name}.mix", g.op("Mul", a, b, name=f"{name}.gated"), 16, 16, k=1, rank=1, act=None)
        total = y if total is None else g.op("Add", total, y, name=f"{name}.skip")
        x = g.op("Add", x, y, name=f"{name}.residual")
    x = g.op("Relu", total, name="last.relu")
    g.conv("last", x, 16, 4, k=1, rank=1, bias=True, out="frames")
    g.output("frames", "float", "N", 4, "F")
    return chords


def chords(rng, n, length=160):
    """Feeds of two sines and noise per sample."""
    t = np.arange(length) / length
    frequency, phase = rng.uniform(2, 30, (n, 2, 1)), rng.uniform(0, 2 * np.pi, (n, 2, 1))
    wave = np.sin(2 * np.pi * frequency * t + phase).sum(axis=1) + 0.1 * rng.normal(size=(n, length))
    return {"wave": wave[:, None].astype(np.float32)}


def silu(g, name, x):
    return g.op("Mul", x, g.op("Sigmoid", x, name=f"{name}.sigmoid"), name=f"{name}.mul")


def conv_bn_silu(g, name, x, c_in, c_out, k=3, **more):
    return silu(g, f"{name}.act", g.conv_bn(name, x, c_in, c_out, k, act=None, **more))


def cell_origins(g, x):
    """[1, H*W, 2]: column and row of each cell of the feature map x, whatever its size."""
    shape = g.op("Shape", x, name="grid.shape")
    zero, one = g.init("grid.zero", 0, np.int64), g.init("grid.one", 1, np.int64)
    ranges, sizes = [], []
    for axis, name in ((2, "rows"), (3, "columns")):
        size = g.op("Gather", shape, g.init(f"grid.{name}.axis", axis, np.int64), name=f"grid.{name}.size", axis=0)
        sizes.append(g.op("Unsqueeze", size, "axis0", name=f"grid.{name}.unsqueeze"))
        ranges.append(g.op("Range", zero, size, one, name=f"grid.{name}"))
    full = g.op("Concat", *sizes, name="grid.size", axis=0)
    column = g.op("Expand", ranges[1], full, name="grid.column")
    row = g.op(
        "Expand", g.op("Unsqueeze", ranges[0], g.ints("grid.last", 1), name="grid.upright"), full, name="grid.row"
    )
    cells = [
        g.op("Unsqueeze", v, g.ints(f"grid.pair{i}", 2), name=f"grid.split{i}") for i, v in enumerate((column, row))
    ]
    both = g.op("Concat", *cells, name="grid.both", axis=2)
    both = g.op("Reshape", both, g.ints("grid.flat", 1, -1, 2), name="grid.flatten")
    return g.op("Cast", both, name="grid.cast", to=TensorProto.FLOAT)


@case(
    "Detector, any height and width: swish as Sigmoid-Mul, spatial pyramid pooling, grid from Shape-Range-Expand, box"
    " decoding, NonMaxSuppression, TopK"
)
def detector(g):
    g.ints("axis0", 0)
    n_classes, stride = 3, 8
    x = g.input("image", "float", 1, 3, "H", "W")
    for i, (c_in, c_out) in enumerate([(3, 8), (8, 16), (16, 24)]):
        x = conv_bn_silu(g, f"down{i}", x, c_in, c_out, stride=2)
    pools = [g.op("MaxPool", x, name=f"spp{k}", kernel_shape=[k, k], pads=[k // 2] * 4) for k in (3, 5)]
    x = conv_bn_silu(g, "mix", g.op("Concat", x, *pools, name="spp", axis=1), 72, 24, k=1)
    head = g.conv("head", conv_bn_silu(g, "neck", x, 24, 24), 24, 4 + n_classes, k=1, bias=True)

    x = g.op("Reshape", head, g.ints("cells.shape", 0, 4 + n_classes, -1), name="cells")
    x = g.op("Transpose", x, name="cells.last", perm=[0, 2, 1])
    parts = g.ints("parts.sizes", 2, 2, n_classes)
    middle, size, score = g.op(
        "Split", x, parts, name="parts", out=("parts.middle", "parts.size", "parts.score"), axis=2
    )
    middle = g.op("Add", g.op("Sigmoid", middle, name="middle.sigmoid"), cell_origins(g, head), name="middle.cell")
    middle = g.op("Mul", middle, g.init("middle.stride", float(stride)), name="middle.scale")
    half = g.op("Mul", g.op("Exp", size, name="size.exp"), g.init("size.half", stride / 2), name="size.scale")
    corners = [g.op(t, middle, half, name=f"corner.{t.lower()}") for t in ("Sub", "Add")]
    boxes = g.op("Concat", *corners, name="boxes.concat", out="boxes", axis=2)
    scores = g.op("Transpose", g.op("Sigmoid", score, name="score.sigmoid"), name="scores", perm=[0, 2, 1])

    limits = g.init("nms.most", [5], np.int64), g.init("nms.overlap", [0.45]), g.init("nms.least", [0.6])
    g.op("NonMaxSuppression", boxes, scores, *limits, name="nms", out="kept")
    best = g.op("ReduceMax", scores, name="best", axes=[1], keepdims=0)
    g.op("TopK", best, g.ints("top.k", 4), name="top", out=("top_scores", "top_cells"), axis=1)
    g.output("boxes", "float", 1, "cells", 4)
    g.output("kept", "int64", "n_kept", 3)
    g.output("top_scores", "float", 1, 4)
    g.output("top_cells", "int64", 1, 4)
    draw = pictures(3, 48, 64)
    return lambda rng, n: draw(rng, 1)
