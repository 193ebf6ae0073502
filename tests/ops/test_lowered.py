"""What kernels compute: the reference's values, and the same bits for every processor, number of threads and
batch. Many random nodes of one operator are run at a time, of random shapes that broadcast."""
import os
import zlib

import ml_dtypes
import numpy as np
import pytest

import nodes as lib
from nodes import REFERENCE, Nodes, equal, samples

F32, F64, F16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)
BF16 = np.dtype(ml_dtypes.bfloat16)
I64, I32, U8, I8, BOOL = (np.dtype(t) for t in (np.int64, np.int32, np.uint8, np.int8, np.bool_))
NUMBERS = (F32, F64, I64, I32)

UNARY = """Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish
    LeakyRelu Log LogSoftmax Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus
    Softsign Sqrt Swish Tan Tanh ThresholdedRelu IsNaN IsInf Identity""".split()
BINARY = {"Add": NUMBERS + (U8, F16), "Sub": NUMBERS + (U8, F16), "Mul": NUMBERS + (U8, F16),
          "Div": NUMBERS + (U8, F16), "Pow": (F32, I64, I32), "PRelu": (F32, F64, I64, I32), "Min": NUMBERS,
          "Max": NUMBERS, "Mod": (I64, I32, U8, I8), "Equal": NUMBERS + (BOOL,), "Less": NUMBERS,
          "LessOrEqual": NUMBERS, "Greater": NUMBERS, "GreaterOrEqual": NUMBERS, "And": (BOOL,), "Or": (BOOL,),
          "Xor": (BOOL,), "BitwiseAnd": (I64, U8), "BitwiseOr": (I32,), "BitwiseXor": (I8,), "BitShift": (U8,)}
VARIADIC = {"Sum": (F32, F64), "Mean": (F32,), "Min": NUMBERS, "Max": NUMBERS}
REDUCE = """ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceSumSquare ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp""".split()
CASTS = (F32, F64, F16, I64, I32, U8, I8, BOOL)


def rng_of(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def shape_of(rng, rank=None):
    rank = rng.integers(0, 5) if rank is None else rank
    most = {0: 1, 1: 3000, 2: 90, 3: 20, 4: 9}[int(rank)]
    return tuple(int(d) for d in rng.integers(1, most + 1, rank))


def part_of(rng, shape):
    """A shape that broadcasts to this one."""
    part = [1 if rng.random() < .4 else d for d in shape]
    return tuple(part[rng.integers(0, len(part) + 1):]) if rng.random() < .5 else tuple(part)


def unary(name, rng):
    n = Nodes(24)
    for _ in range(8):
        x = samples(F32, shape_of(rng), rng, .05 if name in ("Log", "Sqrt", "Reciprocal") else -.95, .95)
        if name == "Acosh":
            x = np.abs(x) + np.float32(1)
        if name in ("IsNaN", "IsInf") and x.size > 1:
            x.flat[0], x.flat[1] = np.nan, -np.inf
        if not (x.ndim == 0 and name in ("Softmax", "LogSoftmax")):
            n.add(name, [x], [x])
    return n


def binary(name, rng):
    n = Nodes(24)
    for dtype in BINARY[name]:
        for _ in range(5):
            shape = shape_of(rng)
            a = samples(dtype, shape, rng, .5 if name == "Pow" else -8)
            b = samples(dtype, part_of(rng, shape), rng, 1 if name in ("Div", "Mod", "BitShift") else -2, 7)
            if name == "Pow" and dtype.kind == "i":
                b = abs(b)
            swap = rng.random() < .4 and name not in ("PRelu", "Div", "Mod", "Pow", "BitShift")
            attrs = {"direction": "LEFT"} if name == "BitShift" else {}
            n.add(name, [b, a] if swap else [a, b], [a], **attrs)
    return n


def variadic(name, rng):
    n = Nodes(24)
    for dtype in VARIADIC[name]:
        for count in (1, 2, 3, 7, 19):
            shape = shape_of(rng)
            n.add(name, [samples(dtype, part_of(rng, shape), rng) for _ in range(count)], [0])
    return n


def clip(rng):
    n = Nodes(13)
    for dtype in (F32, F64, I64, I32, U8, I8):
        x, low, high = (samples(dtype, s, rng) for s in (shape_of(rng), (), ()))
        for bounds in ([], [None, high], [low], [low, high]):
            n.add("Clip", [x] + bounds, [x])
    return n


def where(rng):
    n = Nodes(16)
    for dtype in (F32, F64, I64, U8, F16, BOOL):
        for _ in range(4):
            s = shape_of(rng)
            n.add("Where", [samples(BOOL, part_of(rng, s), rng), samples(dtype, part_of(rng, s), rng),
                            samples(dtype, s, rng)], [0])
    return n


def cast(rng):
    n = Nodes(21)
    for a in CASTS:
        for b in CASTS:
            n.add("Cast", [samples(a, shape_of(rng), rng, 0, 9)], [0],
                  to=lib.helper.np_dtype_to_tensor_dtype(b))
    return n


def reduce(name, rng):
    n = Nodes(13 if name == "ReduceSum" else 18)
    low = .1 if "Log" in name or "Prod" in name else -2
    for dtype in (F32, F32, F32, F64, I64, I32) if "Log" not in name and name != "ReduceL2" else (F32,) * 4 + (F64,):
        for rank in (1, 2, 3, 4):
            x = samples(dtype, shape_of(rng, rank), rng, low, 1.2 if "Prod" in name else 2)
            if dtype == F64 and rank == 4:
                x.flat[x.size // 2], x.flat[x.size // 3] = np.nan, np.inf
            axes = np.flatnonzero(rng.random(rank) < .5).astype(np.int64)
            if dtype == F64 and rank == 3:
                axes = np.array([0, 2])
            n.add(name, [x, axes], [0], keepdims=int(rng.integers(0, 2)))
    return n


def argument(name, rng):
    n = Nodes(13)
    for rank in (1, 2, 3, 4):
        for last in (0, 1):
            x = samples(F32, shape_of(rng, rank), rng).round()
            n.add(name, [x], [0], axis=int(rng.integers(-rank, rank)), select_last_index=last)
    return n


def cumulate(rng):
    n = Nodes(14)
    for dtype in (F32, F64, I64, I32):
        for rank in (1, 2, 3):
            x = samples(dtype, shape_of(rng, rank), rng)
            n.add("CumSum", [x, np.int64(rng.integers(-rank, rank))], [0], reverse=int(rng.integers(0, 2)),
                  exclusive=int(rng.integers(0, 2)))
    return n


def quantize(rng):
    n = Nodes(21)
    for dtype in (U8, I8, np.dtype(np.uint16), np.dtype(np.int16)):
        for rank in (2, 3, 4):
            shape, axis = shape_of(rng, rank), int(rng.integers(0, rank))
            x = samples(F32, shape, rng, -40, 40)
            for parameters in ((), (shape[axis],)):
                scale = samples(F32, parameters, rng, .05, .3)
                zero = samples(dtype, parameters, rng, 0, 20)
                n.add("QuantizeLinear", [x, scale, zero], [0], axis=axis)
                n.add("DequantizeLinear", [samples(dtype, shape, rng, -100, 100), scale, zero], [0], axis=axis)
            block = int(rng.integers(1, shape[axis] + 1))
            parameters = (*shape[:axis], -(-shape[axis] // block), *shape[axis + 1:])
            scale, zero = samples(F32, parameters, rng, .05, .3), samples(dtype, parameters, rng, 0, 20)
            n.add("QuantizeLinear", [x, scale, zero], [0], axis=axis, block_size=block)
            n.add("DequantizeLinear", [samples(dtype, shape, rng, -100, 100), scale, zero], [0], axis=axis, block_size=block)
        n.add("DynamicQuantizeLinear", [x], [0, 0, 0])
    return n


def grid_sample(rng):
    n = Nodes(22)
    for mode in "nearest", "linear", "cubic":
        for padding in "zeros", "border", "reflection":
            for rank in (1, 2, 3):
                x = samples(F32, (2, 3, *rng.integers(1, 9, rank)), rng, -1, 1)
                grid = samples(F32, (2, *rng.integers(1, 14, rank), rank), rng, -1.6, 1.6)
                n.add("GridSample", [x, grid], [0], mode=mode, padding_mode=padding, align_corners=int(rng.integers(0, 2)))
    x[:, :, 0], x[:, :, -1] = np.inf, np.nan
    n.add("GridSample", [x, grid], [0])
    far = grid.copy()
    far.flat[:5] = np.nan, np.inf, -np.inf, 1e30, -1e30
    return n.add("GridSample", [samples(F32, x.shape, rng, -1, 1), far], [0])


def deform_conv(rng):
    n = Nodes(22)
    for rank, group, offset_group, mask, bias in ((2, 1, 1, 0, 0), (2, 2, 1, 1, 0), (2, 1, 2, 1, 1), (1, 2, 2, 0, 1), (3, 1, 1, 1, 1)):
        size, kernel = rng.integers(6, 13, rank), rng.integers(1, 4, rank)
        x, w = samples(F32, (2, 4, *size), rng, -1, 1), samples(F32, (6, 4 // group, *kernel), rng, -.3, .3)
        out, taps = (size + 2 - kernel) // 2 + 1, int(np.prod(kernel))
        n.add("DeformConv", [x, w, samples(F32, (2, offset_group * taps * rank, *out), rng, -2, 2),
                             samples(F32, 6, rng) if bias else None,
                             samples(F32, (2, offset_group * taps, *out), rng, 0, 1) if mask else None], [0],
              group=group, offset_group=offset_group, pads=[1] * (2 * rank), strides=[2] * rank)
    return n


def regions(rng):
    n = Nodes(22)
    x = samples(F32, (2, 3, 12, 10), rng, -1, 1)
    boxes = np.concatenate([p := rng.uniform(-3, 8, (9, 2)), p + rng.uniform(-1, 9, (9, 2))], 1).astype(F32)
    image = rng.integers(0, 2, 9)
    for ratio in 0, 1, 2, 5:
        for corners in "half_pixel", "output_half_pixel":
            for mode in "avg", "max":
                n.add("RoiAlign", [x, boxes, image], [0], output_height=3, output_width=4, sampling_ratio=ratio, mode=mode,
                      coordinate_transformation_mode=corners, spatial_scale=.9)
    n.add("RoiAlign", [x, 40 * boxes, image], [0])
    x = x.copy()
    x[0, 0, 3, 3], x[1, 1, 2] = np.nan, np.inf
    for shape in (1, 1), (3, 4), (20, 2):
        n.add("MaxRoiPool", [x, np.concatenate([image[:, None], boxes], 1).astype(F32)], [0], pooled_shape=shape)
    return n


def lines(name, rng):
    n = Nodes(22)
    for rank in (1, 2, 3, 4):
        for axis in range(rank):
            x = samples(F32, shape_of(rng, rank), rng)
            if name == "Hardmax" and x.size > 3:
                x.flat[x.size // 2], x.flat[x.size // 3] = np.nan, np.inf
            if name == "LpNormalization":
                x[..., 0] = 0
                n.add(name, [x], [0], axis=axis, p=1)
            n.add(name, [x], [0], axis=axis)
    return n


def windows(rng):
    n = Nodes(22)
    for rank in (1, 2, 3):
        for _ in range(4):
            x = samples(F32, (2, 3, *rng.integers(4, 12, rank)), rng)
            k = {"kernel_shape": rng.integers(1, 4, rank), "strides": rng.integers(1, 3, rank), "pads": [1] * rank + [0] * rank,
                 "dilations": rng.integers(1, 3, rank), "ceil_mode": int(rng.integers(0, 2))}
            k = {a: v if a == "ceil_mode" else [int(i) for i in v] for a, v in k.items()}
            k["kernel_shape"][0] = max(2, k["kernel_shape"][0])
            for p in (1, 2, 3):
                n.add("LpPool", [x], [0], p=p, **k)
                n.add("GlobalLpPool", [x], [0], p=p)
            x.flat[rng.integers(0, x.size, 9)] = np.nan, np.inf, -np.inf, np.nan, np.inf, 7, 7, 7, 7
            n.add("MaxPool", [np.round(x)], [0, 0], storage_order=int(rng.integers(0, 2)), **k)
    return n


def rotary(rng):
    n = Nodes(23)
    x, at = samples(F32, (2, 3, 5, 8), rng), rng.integers(0, 9, (2, 5))
    for turned in (0, 4, 6):
        for interleaved in (0, 1):
            cache = [samples(F32, (9, (turned or 8) // 2), rng, -1, 1) for _ in range(2)]
            attrs = {"rotary_embedding_dim": turned, "interleaved": interleaved, "num_heads": 3}
            n.add("RotaryEmbedding", [x, *cache, at], [0], **attrs)
            n.add("RotaryEmbedding", [x, *(c[at] for c in cache)], [0], **attrs)
            n.add("RotaryEmbedding", [x.transpose(0, 2, 1, 3).reshape(2, 5, 24), *cache, at], [0], **attrs)
    return n


def narrow(dtype, rng):
    """What computes in float for narrow types."""
    n = Nodes(22)
    x, w = samples(dtype, (2, 4, 9, 7), rng, -1, 1), samples(dtype, (6, 4, 3, 3), rng, -1, 1)
    a, b, c = samples(dtype, (3, 5, 8), rng, -1, 1), samples(dtype, (8, 6), rng, -1, 1), samples(dtype, 8, rng, .5, 1)
    four = [samples(dtype, 4, rng, .5, 1) for _ in range(4)]
    n.add("Conv", [x, w], [0]).add("ConvTranspose", [x, w.transpose(1, 0, 2, 3)], [0]).add("MatMul", [a, b], [0])
    n.add("Gemm", [a[0], b, b[0]], [0]).add("LayerNormalization", [a, c, c], [0, 0]).add("Hardmax", [a], [0])
    n.add("BatchNormalization", [x, *four], [0]).add("InstanceNormalization", [x, *four[:2]], [0])
    n.add("GroupNormalization", [x, *four[:2]], [0], num_groups=2).add("LRN", [x], [0], size=3).add("ArgMax", [a], [0])
    n.add("MaxPool", [x], [0, 0], kernel_shape=[2, 2]).add("AveragePool", [x], [0], kernel_shape=[3, 2])
    n.add("LpPool", [x], [0], kernel_shape=[2, 2]).add("GlobalAveragePool", [x], [0]).add("LpNormalization", [a], [0])
    n.add("Resize", [x, None, np.array([1, 1, 1.5, .6], F32)], [0], mode="linear").add("CumSum", [np.abs(a), np.array(1)], [0])
    n.add("GRU", [a, samples(dtype, (1, 12, 8), rng, -1, 1), samples(dtype, (1, 12, 4), rng, -1, 1)], [0, 0], hidden_size=4)
    for op in REDUCE:
        n.add(op, [np.abs(a) + dtype.type(.5), np.array([1])], [0])
    for axis in 0, 1, -1:
        n.add("Softmax", [a], [0], axis=axis).add("LogSoftmax", [a], [0], axis=axis)
    return n


def rows_of_features(rng):
    n = Nodes(1, "ai.onnx.ml")
    for shape in (1, 1), (3, 7), (40, 33), (5, 8):
        x = samples(F32, shape, rng)
        x[0] = 0
        for norm in "MAX", "L1", "L2":
            n.add("Normalizer", [x], [0], norm=norm)
        for dtype in (F32, F64, I64, I32):
            n.add("ArrayFeatureExtractor", [samples(dtype, shape, rng), rng.integers(0, shape[1], 11)], [0])
        n.add("FeatureVectorizer", [x, x[:, :1], x], [0], inputdimensions=[shape[1], 3, max(1, shape[1] // 2)])
        n.add("FeatureVectorizer", [x, x], [0])
    return n


def mean_variance(rng):
    n = Nodes(13)
    for axes in None, [0, 2, 3], [2, 3], [1, 2, 3], [0, 1], [3], [0, 1, 2, 3], [1]:
        x = samples(F32, (3, 4, 5, 6), rng)
        n.add("MeanVarianceNormalization", [x], [0], **({"axes": axes} if axes else {}))
    return n


def affine(rng):
    n = Nodes(20)
    for size in (2, 3, 4, 5), (2, 1, 1, 7), (1, 2, 3, 4, 5), (2, 1, 2, 1, 3):
        for align in 0, 1:
            theta = samples(F32, (size[0], len(size) - 2, len(size) - 1), rng, -1, 1)
            n.add("AffineGrid", [theta, np.array(size)], [0], align_corners=align)
    return n


CASES = {**{f"{o}": (unary, o) for o in UNARY}, **{f"{o}-binary": (binary, o) for o in BINARY},
         **{f"{o}-variadic": (variadic, o) for o in VARIADIC}, **{o: (reduce, o) for o in REDUCE},
         "ArgMax": (argument, "ArgMax"), "ArgMin": (argument, "ArgMin"), "Clip": (clip,), "Where": (where,),
         "Cast": (cast,), "CumSum": (cumulate,), "Quantize": (quantize,),
         "GridSample": (grid_sample,), "DeformConv": (deform_conv,), "Regions": (regions,),
         "Hardmax": (lines, "Hardmax"), "LpNormalization": (lines, "LpNormalization"), "Pools": (windows,),
         "RotaryEmbedding": (rotary,), "float16": (narrow, F16), "bfloat16": (narrow, BF16),
         "Features": (rows_of_features,), "MeanVariance": (mean_variance,), "AffineGrid": (affine,)}


def made(case):
    f, *names = CASES[case]
    return f(*names, rng_of(case))


def run(model, options=(), **environment):
    old = {k: os.environ.get(k) for k in environment}
    os.environ.update(environment)
    try:
        return model.run(*options)
    finally:
        for k, v in old.items():
            os.environ.pop(k) if v is None else os.environ.update({k: v})


@pytest.mark.parametrize("case", CASES)
def test_values(case):
    """Kernels against the reference: exact but for floats that are functions of vmath or sums in another order;
    those within some units in the last place of what went into them."""
    model = made(case)
    for got, want, (op, attrs, inputs, _) in zip(model.run(), model.run(*REFERENCE), model.expected):
        what = f"{op} {attrs} of {[None if i is None else (np.asarray(i).dtype.name, np.shape(i)) for i in inputs]}"
        assert got.dtype == want.dtype and got.shape == want.shape, what
        scale = max([1.] + [float(np.abs(i).max()) for i in inputs if i is not None and lib.is_float(np.asarray(i).dtype)])
        terms = np.size(inputs[0]) / max(1, np.size(want)) if "Reduce" in op else 1
        if op == "ReduceSumSquare":
            scale *= scale
        same = equal(got, want, 8 * terms if got.dtype not in (F16, BF16) else 1, 4e-7 * scale * terms if got.dtype == F32 else 0)
        assert same.all(), f"{what}: {got[~same][:5]} instead of {want[~same][:5]}"


@pytest.mark.parametrize("case", CASES)
def test_bits(case):
    """The same bits with every ISA and any number of threads."""
    model = made(case)
    want = run(model, ("--threads", "1"), INFOLD_CPU="ref")
    for isa, threads in ("avx2", "1"), ("avx512", "1"), ("avx512", "2"), ("avx2", "3"):
        for got, expected, (op, attrs, inputs, _) in zip(run(model, ("--threads", threads), INFOLD_CPU=isa), want,
                                                         model.expected):
            assert got.tobytes() == expected.tobytes(), f"{op} {attrs} {[np.shape(i) for i in inputs]} {isa} {threads}"


@pytest.mark.parametrize("case", ["Exp", "Gelu", "Softmax", "ReduceSum", "ReduceLogSumExp", "Add-binary"])
def test_rows_of_a_batch(case):
    """A sample's bits do not depend on the batch it came in."""
    rng = rng_of(case)
    whole, single = Nodes(24), Nodes(24)
    op = case.split("-")[0]
    for shape in ((5, 333), (3, 7, 50), (4, 3, 8, 9)):
        x = samples(F32, shape, rng, .1, 1)
        more = [samples(F32, shape[1:], rng)] if "binary" in case else \
            [np.arange(1, len(shape), 2)] if "Reduce" in case else []
        whole.add(op, [x] + more, [x])
        for i in range(shape[0]):
            single.add(op, [x[i:i + 1]] + more, [x])
    samples_of = iter(single.run())
    for y in whole.run():
        for row in y:
            assert row.tobytes() == next(samples_of).tobytes()


def test_regions_of_no_image_are_refused():
    x, boxes = np.zeros((2, 1, 4, 4), F32), np.ones((1, 4), F32)
    lib.refuses(Nodes(22).add("RoiAlign", [x, boxes, np.array([2])], [0]), "image 2")
    lib.refuses(Nodes(22).add("RoiAlign", [x, boxes, np.array([-1])], [0]), "image -1")
    lib.refuses(Nodes(22).add("MaxRoiPool", [x, np.full((1, 5), 7, F32)], [0], pooled_shape=[1, 1]), "image 7")


def test_features_outside_are_refused():
    for bad in 3, -1:
        lib.refuses(Nodes(1, "ai.onnx.ml").add("ArrayFeatureExtractor", [np.zeros((2, 3), F32), np.array([0, bad])], [0]), f"index {bad}")


def test_positions_outside_are_refused():
    x, cache = np.zeros((1, 2, 3, 4), F32), np.zeros((5, 2), F32)
    for bad in 5, -1:
        lib.refuses(Nodes(23).add("RotaryEmbedding", [x, cache, cache, np.array([[0, 1, bad]])], [0]), f"position {bad}")


def test_division_by_zero_is_refused():
    a, b = np.arange(6).reshape(2, 3), np.array([1, 0, 2])
    for op in ("Div", "Mod"):
        lib.refuses(Nodes(13).add(op, [a, b], [a]), "zero")
