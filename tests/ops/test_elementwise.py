"""Elementwise operators of every version and type against NumPy in double, rounded once."""
import math

import numpy as np
import pytest

from nodes import REFERENCE, Nodes, dtypes_of, is_float, refuses, samples, versions_of

RNG = np.random.default_rng(5)
V = np.vectorize


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


erf, erfc = V(math.erf, otypes=[np.float64]), V(math.erfc, otypes=[np.float64])

# name: (function of doubles, lowest and highest argument)
UNARY = {
    "Abs": (np.abs, -8, 8), "Neg": (np.negative, -8, 8), "Ceil": (np.ceil, -8, 8), "Floor": (np.floor, -8, 8),
    "Round": (np.rint, -8, 8), "Sqrt": (np.sqrt, 0, 9), "Exp": (np.exp, -9, 9), "Log": (np.log, 0.01, 9),
    "Sin": (np.sin, -9, 9), "Cos": (np.cos, -9, 9), "Tan": (np.tan, -1.5, 1.5), "Asin": (np.arcsin, -1, 1),
    "Acos": (np.arccos, -1, 1), "Atan": (np.arctan, -9, 9), "Sinh": (np.sinh, -5, 5), "Cosh": (np.cosh, -5, 5),
    "Tanh": (np.tanh, -5, 5), "Asinh": (np.arcsinh, -9, 9), "Acosh": (np.arccosh, 1, 9),
    "Atanh": (np.arctanh, -.99, .99), "Erf": (erf, -3, 3), "Sign": (np.sign, -8, 8),
    "Reciprocal": (lambda x: 1 / x, .1, 9), "Relu": (lambda x: np.maximum(x, 0), -8, 8),
    "LeakyRelu": (lambda x: np.where(x < 0, np.float64(np.float32(.01)) * x, x), -8, 8),
    "Elu": (lambda x: np.where(x < 0, np.expm1(x), x), -8, 8), "Celu": (lambda x: np.where(x < 0, np.expm1(x), x), -8, 8),
    "Gelu": (lambda x: .5 * x * erfc(-x / np.sqrt(2)), -4, 4),
    "HardSigmoid": (lambda x: np.clip(np.float64(np.float32(.2)) * x + .5, 0, 1), -4, 4),
    "HardSwish": (lambda x: x * np.clip(1 / 6 * x + .5, 0, 1), -4, 4),
    "Mish": (lambda x: x * np.tanh(softplus(x)), -4, 4), "Sigmoid": (sigmoid, -8, 8), "Softplus": (softplus, -8, 8),
    "Softsign": (lambda x: x / (1 + np.abs(x)), -8, 8), "Swish": (lambda x: x * sigmoid(x), -8, 8),
    "ThresholdedRelu": (lambda x: np.where(x > 1, x, 0), -8, 8),
    "Shrink": (lambda x: np.where(x < -.5, x, np.where(x > .5, x, 0)), -8, 8),
}


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    f, low, high = UNARY[op]
    for version in versions_of(op):
        nodes = Nodes(version)
        for dtype in dtypes_of(op, version):
            x = samples(dtype, (3, 41), RNG, low, high)
            with np.errstate(all="ignore"):
                nodes.add(op, [x], [f(x.astype(np.float64)).astype(dtype)])
        nodes.check(ulps=64 if op == "Gelu" else 8, options=REFERENCE)  # erfc amplifies the rounding of its argument


def test_selu_defaults():
    x = samples(np.dtype(np.float64), (50,), RNG)
    for version, alpha, gamma in (1, 1.6732, 1.0507), (6, 1.67326319217681884765625, 1.05070102214813232421875):
        alpha, gamma = float(np.float32(alpha)), float(np.float32(gamma))
        Nodes(version).add("Selu", [x], [gamma * np.where(x > 0, x, alpha * np.expm1(x))]).check(ulps=2)


def test_special_values():
    x = np.array([np.nan, np.inf, -np.inf, 0., -0., 1e-310], np.float64)
    Nodes(20).add("IsNaN", [x], [np.isnan(x)]).add("IsInf", [x], [np.isinf(x)]) \
        .add("IsInf", [x], [x == -np.inf], detect_positive=0).add("IsInf", [x], [x == np.inf], detect_negative=0) \
        .add("Relu", [x], [np.maximum(x, 0)]).add("Sign", [x], [np.sign(x)]) \
        .add("Clip", [x, np.float64(-1), np.float64(1)], [np.clip(x, -1, 1)]) \
        .add("Max", [x, np.ones(6)], [np.maximum(x, 1)]).add("Min", [np.ones(6), x], [np.minimum(1, x)]).check()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_integers_wrap(dtype):
    """Results are those of numpy's fixed-width arithmetic."""
    info = np.iinfo(dtype)
    a = np.array([info.min, info.max, 0, 7, 100, info.max // 3], dtype)
    b = np.array([info.max, info.max, 5, 3, 27, 2], dtype)
    nodes = Nodes(14)
    with np.errstate(all="ignore"):
        for op, f in ("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply):
            nodes.add(op, [a, b], [f(a, b)])
        nodes.add("Abs", [a], [np.abs(a)])
        if info.min < 0:
            nodes.add("Neg", [a], [np.negative(a)])
    nodes.check()


def test_integer_division_truncates():
    a, b = np.array([7, -7, 7, -7, 2**31 - 1, -2**31]), np.array([2, 2, -2, -2, 1, -1])
    expected = np.array([3, -3, -3, 3, 2**31 - 1, -2**31])
    Nodes(7).add("Div", [a.astype(np.int32), b.astype(np.int32)], [expected.astype(np.int32)]).check()
    low = np.array([-2**63], np.int64)
    Nodes(13).add("Div", [low, np.array([-1])], [low]).add("Mod", [low, np.array([-1])], [np.array([0])]) \
        .add("Mod", [low, np.array([-1])], [np.array([0])], fmod=1).check()
    for op in "Div", "Mod":
        refuses(Nodes(13).add(op, [a, np.array([1, 1, 0, 1, 1, 1])], [a]), "zero")


def test_mod():
    a, b = np.array([-7, 7, -7, 7, 6]), np.array([3, -3, -3, 3, 3])
    Nodes(13).add("Mod", [a, b], [np.mod(a, b)]).add("Mod", [a, b], [np.fmod(a, b)], fmod=1).check()
    x = np.array([-7.5, 7.5, -7.5, np.inf, 5, 5, -5, 0., -0.])
    y = np.array([2, -2, -2, 2, np.inf, -np.inf, np.inf, -3, 3])
    with np.errstate(all="ignore"):
        Nodes(28).add("Mod", [x, y], [np.mod(x, y)]).add("Mod", [x, y], [np.fmod(x, y)], fmod=1).check()


def test_pow_mixes_types():
    x, y = np.array([2, 3, -2], np.int32), np.array([.5, 2, 3], np.float32)
    Nodes(13).add("Pow", [x, y], [np.trunc(np.power(x, y.astype(np.float64))).astype(np.int32)]) \
        .add("Pow", [x, np.array([31, 40, 63], np.int64)],
             [np.array([2**31 - 2**32, (3**40 + 2**31) % 2**32 - 2**31, 0], np.int32)]) \
        .add("Pow", [y, x], [np.power(y.astype(np.float64), x).astype(np.float32)]).check()


BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power,
          "Max": np.maximum, "Min": np.minimum, "Sum": np.add, "Mean": lambda a, b: (a + b) / 2,
          "PRelu": lambda a, b: np.where(a > 0, a, a * b),
          "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
          "LessOrEqual": np.less_equal}
SHAPES = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((2, 1, 4), (5, 1)), ((), (2, 3)), ((2, 3), ()), ((0, 3), (1, 3)),
          ((1, 1, 1), (1, 1)), ((4, 1, 3, 1, 5), (2, 1, 6, 5)), ((700, 3), (700, 1)), ((3, 700), (1, 700))]


@pytest.mark.parametrize("op", BINARY)
def test_binary(op):
    for version in versions_of(op):
        legacy = version < 8 if op in ("Max", "Min", "Sum", "Mean") else version < 7
        nodes = Nodes(version)
        for dtype in dtypes_of(op, version):
            if op == "Pow" and version >= 12 and dtype not in dtypes_of(op, version, "T1"):
                continue
            for left, right in SHAPES[:1] if legacy else SHAPES:
                if (op == "PRelu" and np.broadcast_shapes(left, right) != left) or dtype.kind == "O":
                    continue
                a, b = (samples(dtype, s, RNG, *((1, 4) if op in ("Div", "Pow") else (-8, 8))) for s in (left, right))
                wide = np.float64 if is_float(dtype) else a.dtype
                if dtype.kind in "iu" and op == "Div":
                    expected = a // b
                else:
                    expected = BINARY[op](a.astype(wide), b.astype(wide))
                if op not in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
                    expected = expected.astype(dtype)
                nodes.add(op, [a, b], [expected])
        nodes.check(ulps=1 if op in ("Pow", "Mean") else 0)


LOGICAL = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
           "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}


@pytest.mark.parametrize("op", LOGICAL)
def test_logical(op):
    for version in versions_of(op):
        nodes = Nodes(version)
        for dtype in dtypes_of(op, version):
            for left, right in SHAPES[:1] if version < 7 else SHAPES:
                a, b = samples(dtype, left, RNG, -100, 100), samples(dtype, right, RNG, -100, 100)
                nodes.add(op, [a, b], [LOGICAL[op](a, b)])
        nodes.check()
    x = samples(np.dtype(bool), (9,), RNG)
    Nodes(18).add("Not", [x], [~x]).add("BitwiseNot", [np.array([0, 200], np.uint8)], [np.array([255, 55], np.uint8)]) \
        .add("BitwiseNot", [np.array([0, -7], np.int16)], [np.array([-1, 6], np.int16)]).check()


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal"])
def test_legacy_broadcast(op):
    dtype = np.dtype(np.int32 if op == "Equal" else np.float32)
    a = samples(dtype, (2, 3, 4, 5), RNG, 1, 6)
    f = BINARY[op]
    for version in (1, 6) if op in ("Add", "Sub", "Mul", "Div") else (1,):
        nodes = Nodes(version)
        for shape, axis in ((), None), ((1,), None), ((5,), None), ((4, 5), None), ((3, 4), 1), ((2,), 0), ((2, 3), 0):
            b = samples(dtype, shape, RNG, 1, 6)
            view = b.reshape(shape + (1,) * (4 - axis - len(shape))) if axis is not None else b
            attrs = {} if axis is None else {"axis": axis}
            expected = f(a.astype(np.float64), view.astype(np.float64))
            nodes.add(op, [a, b], [expected if expected.dtype == bool else expected.astype(dtype)], broadcast=1, **attrs)
        nodes.check(ulps=1)
        refuses(Nodes(version).add(op, [a, samples(dtype, (5,), RNG, 1, 6)], [a]))
        refuses(Nodes(version).add(op, [a, samples(dtype, (3,), RNG, 1, 6)], [a], broadcast=1, axis=3))


def test_prelu_by_channel():
    x, slope = samples(np.dtype(np.float32), (2, 3, 4, 5), RNG), samples(np.dtype(np.float32), (3,), RNG)
    for version in 1, 6:
        Nodes(version).add("PRelu", [x, slope], [np.where(x > 0, x, x * slope.reshape(3, 1, 1))]) \
            .add("PRelu", [x, slope[:1]], [np.where(x > 0, x, x * slope[0])]).check()
    refuses(Nodes(9).add("PRelu", [slope, x], [x]), "broadcast")


def test_clip_versions():
    x = np.array([-np.inf, -1e39, -2, 0, 2, np.inf, np.nan], np.float64)
    top = float(np.finfo(np.float32).max)
    Nodes(1).add("Clip", [x], [x]).add("Clip", [x], [np.minimum(x, 1)], max=1.).check()
    Nodes(6).add("Clip", [x], [np.clip(x, -top, top)]).add("Clip", [x], [np.clip(x, -1, 1)], min=-1., max=1.).check()
    nodes = Nodes(13).add("Clip", [x], [x]).add("Clip", [x, None, np.float64(1)], [np.minimum(x, 1)]) \
        .add("Clip", [x, np.float64(-1)], [np.maximum(x, -1)]) \
        .add("Clip", [x, np.float64(3), np.float64(1)], [np.where(np.isnan(x), x, 1)])
    for dtype in np.int8, np.uint8, np.int32, np.uint64, np.int64:
        v = np.array([0, 5, 100], dtype)
        nodes.add("Clip", [v, dtype(3), dtype(50)], [np.clip(v, 3, 50)])
    nodes.check()


def test_variadic():
    shapes = [(3, 1), (4,), (2, 1, 1), ()]
    for op, f in ("Max", np.maximum), ("Min", np.minimum), ("Sum", np.add):
        inputs = [samples(np.dtype(np.float64), s, RNG) for s in shapes]
        expected = inputs[0]
        for v in inputs[1:]:
            expected = f(expected, v)
        Nodes(13).add(op, inputs, [expected]).add(op, inputs[:1], inputs[:1]).check()
        refuses(Nodes(6).add(op, inputs, [expected]))
    Nodes(13).add("Mean", [np.float32([1, 2]), np.float32([3, 5]), np.float32([5, 8])], [np.float32([3, 5])]).check()


def test_bit_shift():
    for dtype in np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64:
        bits = np.iinfo(dtype).bits
        x = np.array([1, 5, 100, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
        nodes = Nodes(28 if np.iinfo(dtype).min < 0 else 11)
        for count in 0, 1, bits - 1, bits, 127 if bits < 127 else bits:
            y = np.full(5, count, dtype)
            whole = [int(v) for v in x]
            left = [(v << count) % 2**bits if count < bits else 0 for v in whole]
            if np.iinfo(dtype).min < 0:
                left = [v - 2**bits if v >= 2**(bits - 1) else v for v in left]
            nodes.add("BitShift", [x, y], [np.array(left, dtype)], direction="LEFT")
            nodes.add("BitShift", [x, y], [np.array([v >> count for v in whole], dtype)], direction="RIGHT")
        nodes.check()
    x = np.array([-5, 5], np.int16)
    Nodes(28).add("BitShift", [x, np.int16([-1, -1])], [np.int16([-1, 0])], direction="RIGHT") \
        .add("BitShift", [x, np.int16([-1, -1])], [np.int16([0, 0])], direction="LEFT").check()


def test_where_any_type():
    nodes = Nodes(16)
    for dtype in dtypes_of("Where", 16):
        if dtype.kind == "O":
            x, y = np.array([["a", "bc", ""]], object), np.array([["longer"], ["x"]], object)
        elif dtype.kind == "c":
            x, y = (RNG.normal(size=s).astype(dtype) for s in ((1, 3), (2, 1)))
        else:
            x, y = samples(dtype, (1, 3), RNG), samples(dtype, (2, 1), RNG)
        c = np.array([[True, False, True], [False, True, False]])
        nodes.add("Where", [c, x, y], [np.where(c, x, y)])
    nodes.check()


def test_equal_strings():
    a, b = np.array([["a", "b"], ["c", ""]], object), np.array(["a", ""], object)
    Nodes(19).add("Equal", [a, b], [a == b]).check()


def test_swiglu():
    a, b = (samples(np.dtype(np.float64), (3, 5), RNG) for _ in "ab")
    Nodes(28).add("SwiGLU", [a, b], [a * sigmoid(a) * b]).add("SwiGLU", [a, b], [a * sigmoid(2 * a) * b], alpha=2.) \
        .check(ulps=2)
    refuses(Nodes(28).add("SwiGLU", [a, b[:1]], [a]), "shape")


def test_nan_is_beyond_no_threshold():
    x = np.array([np.nan, -3, 0, 3] * 9)
    for dtype in np.float16, np.float32, np.float64:
        v = x.astype(dtype)
        for options in REFERENCE, ():
            Nodes(22).add("ThresholdedRelu", [v], [np.where(v > 1, v, 0).astype(dtype)]) \
                .add("Shrink", [v], [np.where(np.abs(v) > 1, v, 0).astype(dtype)], lambd=1.).check(options=options)


def test_gelu_tanh_and_shrink_attributes():
    x = samples(np.dtype(np.float64), (40,), RNG, -2, 2)
    Nodes(20).add("Gelu", [x], [.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + .044715 * x**3)))], approximate="tanh") \
        .add("Shrink", [x], [np.where(x < -1.5, x + .25, np.where(x > 1.5, x - .25, 0))], lambd=1.5, bias=.25) \
        .add("LeakyRelu", [x], [np.where(x < 0, .5 * x, x)], alpha=.5) \
        .add("Celu", [x.astype(np.float32)],
             [np.where(x > 0, x, 2 * np.expm1(x.astype(np.float32) / 2.)).astype(np.float32)], alpha=2.).check(ulps=64)
