"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear against an independent statement in NumPy."""
import itertools

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from nodes import Nodes, dtypes_of, is_float, refuses, samples, versions_of

RNG = np.random.default_rng(9)


def spread(p, shape, axis, block):
    """A scale or zero point for each element of x."""
    if p.ndim == 0:
        return np.broadcast_to(p, shape)
    if block:
        return np.take(np.repeat(p, block, axis), range(shape[axis]), axis)
    return np.broadcast_to(p.reshape([-1 if d == axis % len(shape) else 1 for d in range(len(shape))]), shape)


def quantize(x, scale, zero, dtype, axis=1, block=0, precision=None, saturate=True):
    s = spread(scale, x.shape, axis, block)
    precision = np.dtype(precision or (scale.dtype if scale.dtype != np.int32 else np.float64))
    q = (x.astype(np.float64) / s.astype(np.float64)).astype(precision).astype(np.float64)
    z = spread(zero, x.shape, axis, block).astype(np.float64)
    if is_float(dtype):
        q = q + z
        if saturate:
            q = np.clip(q, float(ml_dtypes.finfo(dtype).min), float(ml_dtypes.finfo(dtype).max))
        return q.astype(np.float32).astype(dtype)
    info = ml_dtypes.iinfo(dtype)
    return np.clip(np.rint(q) + z, int(info.min), int(info.max)).astype(np.int64).astype(dtype)


def dequantize(x, scale, zero, dtype, axis=1, block=0):
    s, z = spread(scale, x.shape, axis, block), spread(zero, x.shape, axis, block)
    return ((x.astype(np.float64) - z.astype(np.float64)) * s.astype(np.float64)).astype(dtype)


SHAPE = (4, 6, 5)
LAYOUTS = [((), 1, 0), ((6,), 1, 0), ((4,), 0, 0), ((5,), -1, 0), ((4, 2, 5), 1, 3), ((4, 2, 5), 1, 4), ((4, 6, 3), 2, 2)]


def layouts(version):
    return [l for l in LAYOUTS if version >= 21 or not l[2]][:1 if version < 13 else None]


def types(op, version):
    """(element, scale, quantized) type variables by version."""
    if op == "QuantizeLinear":
        return ("T1", None, "T2") if version < 19 else ("T1", "T1", "T2") if version < 23 else ("T1", "T2", "T3")
    return ("T", None) if version < 19 else ("T1", "T2")


@pytest.mark.parametrize("version", versions_of("QuantizeLinear"))
def test_quantize(version):
    element, scale_type, quantized = types("QuantizeLinear", version)
    nodes = Nodes(version)
    scales = [np.dtype(np.float32)] if not scale_type else dtypes_of("QuantizeLinear", version, scale_type)
    for xt, st, qt in itertools.product(dtypes_of("QuantizeLinear", version, element), scales,
                                        dtypes_of("QuantizeLinear", version, quantized)):
        if (19 <= version < 23 and xt != st) or st in (np.int32, np.dtype(ml_dtypes.float8_e8m0fnu)):
            continue
        for shape, axis, block in layouts(version):
            x = samples(xt, SHAPE, RNG, -40, 40)
            scale = samples(st, shape, RNG, .1, 2)
            zero = np.zeros(shape, qt) if is_float(qt) else samples(qt, shape, RNG, -3, 3)
            attrs = {} if version < 13 else {"axis": axis}
            if block:
                attrs["block_size"] = block
            nodes.add("QuantizeLinear", [x, scale, zero], [quantize(x, scale, zero, qt, axis, block)], **attrs)
    nodes.check()


@pytest.mark.parametrize("version", versions_of("DequantizeLinear"))
def test_dequantize(version):
    element, scale_type = types("DequantizeLinear", version)
    nodes = Nodes(version)
    scales = [np.dtype(np.float32)] if not scale_type else dtypes_of("DequantizeLinear", version, scale_type)
    for xt, st in itertools.product(dtypes_of("DequantizeLinear", version, element), scales):
        if st == np.dtype(ml_dtypes.float8_e8m0fnu):
            continue
        for shape, axis, block in layouts(version):
            x = samples(xt, SHAPE, RNG, -100, 100)
            scale = samples(st, shape, RNG, .1, 2)
            zero = np.zeros(shape, xt) if is_float(xt) or xt == np.int32 else samples(xt, shape, RNG, -3, 3)
            attrs = {} if version < 13 else {"axis": axis}
            if block:
                attrs["block_size"] = block
            nodes.add("DequantizeLinear", [x, scale, zero], [dequantize(x, scale, zero, st, axis, block)], **attrs)
            nodes.add("DequantizeLinear", [x, scale], [dequantize(x, scale, 0 * zero, st, axis, block)], **attrs)
            if version >= 23:
                nodes.add("DequantizeLinear", [x, scale, zero], [dequantize(x, scale, zero, np.float16, axis, block)],
                          output_dtype=TensorProto.FLOAT16, **attrs)
    nodes.check()


def test_output_type_and_precision():
    x = samples(np.dtype(np.float32), (3, 4), RNG, -300, 300)
    scale = np.float32(.37)
    nodes = Nodes(25).add("QuantizeLinear", [x, scale], [quantize(x, scale, np.uint8(0), np.dtype(np.uint8))])
    for dtype in np.int8, np.int16, ml_dtypes.int4, ml_dtypes.float8_e4m3fn, ml_dtypes.float4_e2m1fn:
        dtype = np.dtype(dtype)
        nodes.add("QuantizeLinear", [x, scale], [quantize(x, scale, np.zeros((), dtype), dtype)],
                  output_dtype=helper.np_dtype_to_tensor_dtype(dtype))
    nodes.add("QuantizeLinear", [x, scale, np.int16(0)], [quantize(x, scale, np.int16(0), np.dtype(np.int16), precision=np.float16)],
              precision=TensorProto.FLOAT16)
    e8m0 = np.array(.5, ml_dtypes.float8_e8m0fnu)
    nodes.add("QuantizeLinear", [x, e8m0, np.int16(3)], [quantize(x, np.float32(.5), np.int16(3), np.dtype(np.int16))])
    nodes.add("DequantizeLinear", [np.int8([-7, 7]), e8m0], [np.float32([-3.5, 3.5])], output_dtype=TensorProto.FLOAT)
    nodes.check()
    refuses(Nodes(25).add("QuantizeLinear", [x, scale, np.int8(0)], [x], output_dtype=TensorProto.UINT8), "output_dtype")


def test_ends_of_the_range():
    x = np.array([1e30, -1e30, np.inf, -np.inf, .5, 1.5, 2.5, -.5], np.float32)
    one = np.float32(1)
    nodes = Nodes(21)
    for dtype in np.uint8, np.int8, np.uint16, np.int16, ml_dtypes.uint4, ml_dtypes.int4:
        zero = np.array(1).astype(dtype)
        nodes.add("QuantizeLinear", [x, one, zero], [quantize(x, one, zero, np.dtype(dtype))])
    f8 = np.dtype(ml_dtypes.float8_e5m2)
    nodes.add("QuantizeLinear", [x[:1], one, np.zeros((), f8)], [np.array([np.inf], f8)], saturate=0)
    nodes.add("QuantizeLinear", [x[:1], one, np.zeros((), f8)], [np.array([57344], f8)])
    nodes.check()


def test_shapes_that_do_not_fit():
    x, s = np.zeros((4, 6), np.float32), np.ones(6, np.float32)
    refuses(Nodes(21).add("QuantizeLinear", [x, s[:5]], [x]), "axis")
    refuses(Nodes(21).add("QuantizeLinear", [x, s, np.zeros(5, np.uint8)], [x]), "zero point")
    refuses(Nodes(21).add("QuantizeLinear", [x, s], [x], axis=2), "axis")
    refuses(Nodes(21).add("QuantizeLinear", [x, np.ones((4, 3), np.float32)], [x], block_size=4), "block")
    refuses(Nodes(21).add("QuantizeLinear", [x, np.ones((4, 3), np.float32)], [x], block_size=-2), "block")
    refuses(Nodes(21).add("DequantizeLinear", [np.zeros((4, 6), np.int8), s, np.zeros(7, np.int8)], [x]), "zero point")


def test_dynamic():
    for x in samples(np.dtype(np.float32), (5, 7), RNG), np.float32([1, 2, 3]), np.float32([-1, -2]), np.float32([]), np.zeros(3, np.float32):
        low, high = np.float32(min(0, x.min(initial=0))), np.float32(max(0, x.max(initial=0)))
        scale = np.float32(1 if low == high else high - low) / np.float32(255)
        zero = np.rint(np.clip(-low / scale, 0, 255))
        y = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
        Nodes(11).add("DynamicQuantizeLinear", [x], [y, scale, np.uint8(zero)]).check()
