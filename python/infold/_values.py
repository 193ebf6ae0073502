"""NumPy arrays, lists, dictionaries and None to values of the library, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._library import Error, create, ffi, lib
from ._types import DTYPES, FLOATS, NUMBERS_OF_DTYPES, PACKED, STRING, Type


# ---- to the library ----


def strings(array: np.ndarray) -> tuple[Any, Any]:
    """Pointers to all strings, and what they point into: one text with a NUL behind each, and one more."""
    texts = array.ravel().tolist()
    if any(not issubclass(t, str) for t in set(map(type, texts))):
        texts = [s.decode("utf-8", "surrogateescape") if isinstance(s, bytes) else str(s) for s in texts]
    text = np.frombuffer("\0".join([*texts, "", ""]).encode("utf-8", "surrogateescape"), np.uint8)
    ends = np.flatnonzero(text == 0)
    if ends.size != len(texts) + 1:
        raise Error("strings with a NUL cannot be given", "UNSUPPORTED")
    pointers = np.append(0, ends + 1)[: len(texts)].astype(np.uintp) + text.__array_interface__["data"][0]
    return ffi.cast("char **", ffi.from_buffer(pointers)), (pointers, text)


def is_text(array: np.ndarray) -> bool:
    if array.dtype == object:
        return all(issubclass(t, (str, bytes)) for t in set(map(type, array.ravel().tolist())))
    return array.dtype.kind in "SUT"


def takes(type: Type, array: np.ndarray) -> bool:
    """Whether Python's numbers may become the declared type: integers all, floats no integers."""
    return array.size == 0 or array.dtype.kind in "biu" or (array.dtype.kind == "f" and type.dtype in FLOATS)


def array_of(value: Any, type: Type) -> np.ndarray:
    """Arrays keep their types, for the library to judge; numbers and lists of Python take the declared one."""
    array = np.asarray(value)
    if not isinstance(value, (np.ndarray, np.generic)) and type.dtype and takes(type, array):
        array = np.asarray(value, DTYPES[type.dtype])
    return array if array.dtype.hasobject or is_text(array) else np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def number_of(array: np.ndarray, type: Type) -> int:
    if is_text(array):
        return STRING
    if array.ndim == 0 and array.dtype.hasobject:
        raise Error(f"{array.item()!r:.80} is no tensor", "BAD_INPUT")
    if array.dtype.hasobject or array.dtype not in NUMBERS_OF_DTYPES:
        raise Error(f"arrays of {array.dtype} are no ONNX tensors", "BAD_INPUT")
    return type.dtype if DTYPES.get(type.dtype) == array.dtype else NUMBERS_OF_DTYPES[array.dtype]


def to_tensor(value: Any, type: Type) -> Any:
    array = array_of(value, type)
    dtype = number_of(array, type)
    dims = ffi.new("int64_t[]", array.shape)
    if dtype == STRING:
        data, _memory = strings(array)
        return create("value", lib.infold_create_tensor, dtype, dims, array.ndim, data)
    if dtype in PACKED:
        array = array.astype(PACKED[dtype])
    data = ffi.cast("void *", array.__array_interface__["data"][0])
    return create("value", lib.infold_borrow_tensor, dtype, dims, array.ndim, data, needs=array)


def innermost(type: Type) -> int:
    while type.elem:
        type = type.elem
    return type.dtype


def to_items(kind: int, items: list[Any], type: Type) -> Any:
    pointers = ffi.new("infold_value *[]", items)
    return create("value", lib.infold_create_value, kind, innermost(type), pointers, len(items))


def to_value(value: Any, type: Type) -> Any:
    """What a value is follows from the declared type, not from what it looks like."""
    elem = type.elem
    if type.kind == "optional" and elem:
        return to_items(lib.INFOLD_OPTIONAL, [] if value is None else [to_value(value, elem)], type)
    if type.kind == "seq" and elem:
        return to_items(lib.INFOLD_SEQUENCE, [to_value(v, elem) for v in value], type)
    if type.kind == "map" and elem:
        if not isinstance(value, Mapping):
            raise TypeError(f"a dictionary is needed, not {value.__class__.__name__}")
        keys = to_tensor(list(value), Type("tensor", type.dtype))
        return to_items(lib.INFOLD_MAP, [keys, to_tensor(list(value.values()), elem)], type)
    return to_tensor(value, type)


def input_value(name: str, value: Any, type: Type) -> Any:
    """What cannot be a value says of which input."""
    try:
        return to_value(value, type)
    except (Error, TypeError, ValueError) as error:
        status = error.status if isinstance(error, Error) else "BAD_INPUT"
        raise Error(f"input '{name}': {error}", status) from None


# ---- from the library ----


def string_at(value: Any, i: int) -> str:
    chars = ffi.new("char **")
    length = lib.infold_get_string(value, i, chars)
    return ffi.buffer(chars[0], length)[:].decode("utf-8", "surrogateescape") if length else ""


def from_strings(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, object)
    joined = ffi.new("char[]", max(lib.infold_join_strings(value, ffi.NULL), 1))
    length = lib.infold_join_strings(value, joined)
    texts = ffi.buffer(joined, length)[:].decode("utf-8", "surrogateescape").split("\0")[:-1]
    if len(texts) != array.size:  # some hold a NUL
        texts = [string_at(value, i) for i in range(array.size)]
    array.reshape(-1)[:] = texts
    return array


def from_tensor(value: Any, owner: Any) -> np.ndarray:
    """Over the library's memory, which the array keeps through `owner`."""
    dtype = lib.infold_get_dtype(value)
    shape = tuple(ffi.unpack(lib.infold_get_dims(value), lib.infold_get_rank(value)))
    if dtype == STRING:
        return from_strings(value, shape)
    n_bytes = math.prod(shape) * DTYPES[dtype].itemsize
    if n_bytes == 0:
        return np.empty(shape, DTYPES[dtype])
    data = ffi.gc(ffi.cast("char *", lib.infold_get_data(value)), lambda data, owner=owner: None)
    return np.ndarray(shape, DTYPES[dtype], ffi.buffer(data, n_bytes))


def from_value(value: Any, owner: Any) -> Any:
    if value == ffi.NULL:
        raise MemoryError
    kind = lib.infold_get_kind(value)
    if kind == lib.INFOLD_TENSOR:
        return from_tensor(value, owner)
    items = [from_value(lib.infold_get_item(value, i), owner) for i in range(lib.infold_get_count(value))]
    if kind == lib.INFOLD_MAP:
        return dict(zip(items[0].tolist(), items[1].tolist()))
    if kind == lib.INFOLD_OPTIONAL:
        return items[0] if items else None
    return items
