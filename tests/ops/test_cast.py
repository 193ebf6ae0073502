"""Cast, CastLike and BitCast between all types, against ml_dtypes' and NumPy's own conversions."""
import warnings

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from nodes import Nodes, dtypes_of, is_float, refuses

RNG = np.random.default_rng(7)
LATEST = 25
NUMBERS = [d for d in dtypes_of("Cast", LATEST, "T1") if d.kind != "O"]
NARROW = [np.dtype(t) for t in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
                                ml_dtypes.float8_e5m2fnuz)]
E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)


def number_of(dtype):
    return helper.np_dtype_to_tensor_dtype(dtype)


def values(dtype):
    """Numbers that every type can hold, small enough for all to convert them in a defined way."""
    if dtype == bool:
        return np.array([True, False])
    if is_float(dtype):
        x = np.array([0, 1, .5, 1.5, 1.75, 0.3, 3, 2.5] + ([] if dtype == E8M0 else [-1, -.75, -2]), np.float32)
        return x.astype(dtype)
    low = int(ml_dtypes.iinfo(dtype).min)
    ends = [-1, low] if low < 0 else [int(ml_dtypes.iinfo(dtype).max)]
    return np.array([0, 1, *ends], np.uint64 if low == 0 else np.int64).astype(dtype)


@pytest.mark.parametrize("source", NUMBERS, ids=str)
def test_every_pair(source):
    x = values(source)
    nodes = Nodes(LATEST)
    for target in NUMBERS:
        if E8M0 in (source, target) or source == target:
            continue
        v = x
        if is_float(source) and not is_float(target) and target != bool:
            v = x[(x.astype(np.float64) > -1) | (int(ml_dtypes.iinfo(target).min) < 0)]
            v = v[np.abs(v.astype(np.float64)) <= int(ml_dtypes.iinfo(target).max)]
        wide = v.astype(np.float64) if is_float(source) else v.astype(np.int64) if source != np.uint64 else v
        if target == bool:
            expected = wide != 0
        elif is_float(target):
            expected = v.astype(np.float32).astype(target) if target not in (np.float64,) else v.astype(np.float64)
            if target in NARROW or target == np.dtype(ml_dtypes.float4_e2m1fn):
                top = float(ml_dtypes.finfo(target).max)
                expected = np.clip(v.astype(np.float32), -top, top).astype(target)
        else:
            expected = np.trunc(wide).astype(np.int64).astype(target) if is_float(source) else wide.astype(target)
        nodes.add("Cast", [v], [expected], to=number_of(target))
        nodes.add("CastLike", [v, np.zeros((2, 1), target)], [expected])
    nodes.check()


@pytest.mark.parametrize("target", NARROW, ids=str)
def test_float8_tables(target):
    top = float(ml_dtypes.finfo(target).max)
    x = np.array([0, -0., np.nan, top, -top, top * 1.01, top * 4, -top * 4, np.inf, -np.inf, .3, -77.7], np.float32)
    fnuz = "fnuz" in target.name
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        saturated = np.clip(x, -top, top).astype(target)
        plain = x.astype(target)
    early = saturated.copy()
    if fnuz:
        early[8:10] = np.nan
    for version, e in (19, early), (23, early), (24, saturated), (25, saturated):
        Nodes(version).add("Cast", [x], [e], to=number_of(target)) \
            .add("CastLike", [x, np.zeros(1, target)], [e]) \
            .add("Cast", [x], [plain], to=number_of(target), saturate=0).check()


def test_e8m0_rounding():
    x = np.array([1, 1.3, 1.5, 1.6, 3, 2**-127, 1e38], np.float32)
    exact = np.log2(x.astype(np.float64))
    up, down = 2. ** np.ceil(exact), 2. ** np.floor(exact)
    nearest = np.where(x >= 1.5 * down, up, down)
    nodes = Nodes(25)
    for mode, y in ("up", np.minimum(up, 2.**127)), ("down", down), ("nearest", np.minimum(nearest, 2.**127)):
        nodes.add("Cast", [x], [y.astype(np.float32).astype(E8M0)], to=TensorProto.FLOAT8E8M0, round_mode=mode)
    nodes.check()
    codes = np.arange(256, dtype=np.uint8).view(E8M0)
    Nodes(25).add("Cast", [codes], [codes.astype(np.float32)], to=TensorProto.FLOAT).check()
    refuses(Nodes(25).add("Cast", [x], [x], to=TensorProto.FLOAT8E8M0, round_mode="sideways"), "round_mode")


def test_cast_1_names_types():
    x = np.array([1.75, -2.5, 3], np.float32)
    Nodes(1).add("Cast", [x], [x.astype(np.int32)], to="INT32").add("Cast", [x], [x.astype(np.float64)], to="DOUBLE") \
        .add("Cast", [x], [x.astype(np.float16)], to="FLOAT16").add("Cast", [x], [x != 0], to="BOOL").check()
    refuses(Nodes(1).add("Cast", [x], [x], to="FLOTA"), "to")
    for bad in 0, 99, -1:
        refuses(Nodes(13).add("Cast", [x], [x], to=bad), "to")


def test_integers_wrap():
    x = np.array([200, -200, 2**40 + 7, -1], np.int64)
    nodes = Nodes(13)
    for t in np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64:
        nodes.add("Cast", [x], [x.astype(t)], to=number_of(np.dtype(t)))
    nodes.check()


def test_numbers_to_strings():
    cases = {np.float32: ([1.5, .1, 1e-5, 1e20, -0., 16777216, np.nan, np.inf, -np.inf, 314.15926],
                          ["1.5", "0.1", "1e-05", "1e+20", "-0.0", "16777216.0", "NaN", "INF", "-INF", "314.15927"]),
             np.float64: ([.1, 1 / 3, 1e16, 123456789.125], ["0.1", "0.3333333333333333", "1e+16", "123456789.125"]),
             np.float16: ([.1, 65504], ["0.1", "65500.0"]), np.int64: ([-2**63, 0, 42], ["-9223372036854775808", "0", "42"]),
             np.uint64: ([2**64 - 1], ["18446744073709551615"]), np.int8: ([-7], ["-7"]), bool: ([True, False], ["True", "False"])}
    nodes = Nodes(13)
    for t, (x, text) in cases.items():
        nodes.add("Cast", [np.array(x, t)], [np.array(text, object)], to=TensorProto.STRING)
    nodes.check()


def digits(text):
    return text.lstrip("-").split("e")[0].replace(".", "").strip("0")


def test_floats_read_back():
    """The text of a float is the shortest that means it, and reading it gives it back."""
    for t in np.float32, np.float64:
        bits = RNG.integers(0, 2**(32 if t == np.float32 else 64), 400, dtype=np.uint64)
        x = bits.astype(np.uint32 if t == np.float32 else np.uint64).view(t)
        plain = RNG.standard_normal(400) * 10.0 ** RNG.integers(-15, 22, 400)
        tens = 10.0 ** np.arange(-15, 22)
        x = np.concatenate([x[np.isfinite(x)], plain.astype(t), tens.astype(t), np.nextafter(tens.astype(t), t(0))])
        (text,) = Nodes(13).add("Cast", [x], [lambda y: True], to=TensorProto.STRING).run()
        Nodes(13).add("Cast", [text], [x], to=number_of(np.dtype(t))).check()
        assert [digits(str(v)) for v in x] == [digits(s) for s in text]


def test_strings_to_numbers():
    text = np.array(["3.14", "1e-5", "1E8", "+INF", "inf", "-Inf", "NaN", " 7 ", "-0"], object)
    x = np.array([3.14, 1e-5, 1e8, np.inf, np.inf, -np.inf, np.nan, 7, -0.])
    nodes = Nodes(13).add("Cast", [text], [x], to=TensorProto.DOUBLE).add("Cast", [text], [x.astype(np.float32)], to=1)
    whole = np.array(["9223372036854775807", "-9223372036854775808", "100.5", "1e3"], object)
    nodes.add("Cast", [whole], [np.array([2**63 - 1, -2**63, 100, 1000])], to=TensorProto.INT64)
    nodes.add("Cast", [np.array(["18446744073709551615"], object)], [np.array([2**64 - 1], np.uint64)], to=TensorProto.UINT64)
    nodes.add("Cast", [np.array(["true", "False", "1"], object)], [np.array([True, False, True])], to=TensorProto.BOOL)
    nodes.check()
    for bad in "Hello", "", "1.2.3", "0x10", "infinity", "nan(1)", "1e", "--1", "1 2":
        refuses(Nodes(13).add("Cast", [np.array([bad], object)], [x], to=1), "number")


def test_bit_cast():
    floats = np.array([1.5, -0., np.inf], np.float32)
    nodes = Nodes(26).add("BitCast", [floats], [floats.view(np.int32)], to=TensorProto.INT32)
    nodes.add("BitCast", [floats.view(np.uint32)], [floats], to=TensorProto.FLOAT)
    nodes.add("BitCast", [np.array([1 + 2j], np.complex64)], [np.array([1 + 2j], np.complex64).view(np.int64)], to=TensorProto.INT64)
    u4 = np.arange(16).astype(ml_dtypes.uint4)
    nodes.add("BitCast", [u4], [np.array([*range(8), *range(-8, 0)], np.int64).astype(ml_dtypes.int4)], to=TensorProto.INT4)
    nodes.add("BitCast", [np.array([0, 1, 2, 3]).astype(ml_dtypes.uint2)], [np.array([0, 1, -2, -1]).astype(ml_dtypes.int2)], to=TensorProto.INT2)
    nodes.add("BitCast", [np.array([5, 129], np.uint8)], [np.array([5, -127], np.int8)], to=TensorProto.INT8)
    nodes.check()
    refuses(Nodes(26).add("BitCast", [floats], [floats], to=TensorProto.INT64), "width")
