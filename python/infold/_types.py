"""Types of values as infold writes them ("float[N,3]", "seq(map(string, float))"), and NumPy's for the elements."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional, Union

import numpy as np

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None

# TensorProto.DataType: ONNX's number, infold's text, NumPy's name or ml_dtypes', bytes of an element.
ELEMENTS = [
    (1, "float", "float32", 4),
    (2, "uint8", "uint8", 1),
    (3, "int8", "int8", 1),
    (4, "uint16", "uint16", 2),
    (5, "int16", "int16", 2),
    (6, "int32", "int32", 4),
    (7, "int64", "int64", 8),
    (8, "string", "object", 0),
    (9, "bool", "bool", 1),
    (10, "float16", "float16", 2),
    (11, "double", "float64", 8),
    (12, "uint32", "uint32", 4),
    (13, "uint64", "uint64", 8),
    (14, "complex64", "complex64", 8),
    (15, "complex128", "complex128", 16),
    (16, "bfloat16", "bfloat16", 2),
    (17, "float8e4m3fn", "float8_e4m3fn", 1),
    (18, "float8e4m3fnuz", "float8_e4m3fnuz", 1),
    (19, "float8e5m2", "float8_e5m2", 1),
    (20, "float8e5m2fnuz", "float8_e5m2fnuz", 1),
    (21, "uint4", "uint4", 1),
    (22, "int4", "int4", 1),
    (23, "float4e2m1", "float4_e2m1fn", 1),
    (24, "float8e8m0", "float8_e8m0fnu", 1),
    (25, "uint2", "uint2", 1),
    (26, "int2", "int2", 1),
    (27, "float6e2m3", "float6_e2m3fn", 1),
    (28, "float6e3m2", "float6_e3m2fn", 1),
]


def numpy_type(name: str, size: int) -> np.dtype:
    """Without ml_dtypes, types that NumPy lacks are their bits, as unsigned integers."""
    for module in (np, ml_dtypes):
        scalar = {"bool": np.bool_, "object": object}.get(name) or getattr(module, name, None)
        if scalar is not None:
            return np.dtype(scalar)
    return np.dtype(f"u{size}")


DTYPES = {number: numpy_type(name, size) for number, _, name, size in ELEMENTS}
STRING = 8
FLOATS = {number for number, _, name, _ in ELEMENTS if "float" in name or "complex" in name}
NUMBERS = {text: number for number, text, _, _ in ELEMENTS}
# Integers narrower than a byte: ml_dtypes leaves the byte's other bits open, infold wants the number.
PACKED = {21: np.uint8, 22: np.int8, 25: np.uint8, 26: np.int8}
# For arrays whose type nobody declared; bits as unsigned integers are those integers.
NUMBERS_OF_DTYPES = {dtype: number for number, dtype in reversed(DTYPES.items())}

Dim = Union[int, str, None]


class Type(NamedTuple):
    """A tensor (dtype, shape), or "seq", "optional" and "map" of `elem`. dtype is ONNX's number (of a map: of its
    keys), 0 when unknown; shape is None when its rank is."""

    kind: str
    dtype: int = 0
    shape: Optional[tuple[Dim, ...]] = None
    elem: Optional["Type"] = None


def split(dims: str) -> list[str]:
    """At the commas that no brackets are around."""
    parts, depth = [""], 0
    for c in dims:
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def dim(text: str) -> Dim:
    return int(text) if text.isdigit() else None if text == "?" else text


def parse(text: str) -> Type:
    around = re.fullmatch(r"(seq|optional|map)\((.*)\)", text)
    if around:
        kind, inner = around.groups()
        key, _, value = inner.partition(", ") if kind == "map" else ("", "", inner)
        return Type(kind, NUMBERS.get(key, 0), elem=parse(value))
    tensor = re.fullmatch(r"(\w+)(?:\[(.*)\])?", text)
    if not tensor or tensor[1] not in NUMBERS:
        return Type("unknown")
    shape = None if tensor[2] == "" else tuple(map(dim, split(tensor[2]))) if tensor[2] else ()
    return Type("tensor", NUMBERS[tensor[1]], shape)
