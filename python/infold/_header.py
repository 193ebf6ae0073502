"""infold.h as cffi reads it: once when the package is built, into _ffi.py, or by each process of a source tree."""

import pathlib
import re

import cffi

HEADER = pathlib.Path(__file__).resolve().parent / "infold.h"


def parse() -> cffi.FFI:
    header = HEADER.read_text(encoding="utf-8")
    header = re.sub(r"^#ifdef __cplusplus$.*?^#endif$", "", header, flags=re.M | re.S)
    ffi = cffi.FFI()
    ffi.cdef(re.sub(r"^#.*$|\bINFOLD_API\b", "", header, flags=re.M))  # all but the preprocessor's part
    return ffi


def write(path: str) -> None:
    """A module whose `ffi` is the parsed one, at a fraction of the time."""
    ffi = parse()
    ffi.set_source("infold._ffi", None)
    ffi.emit_python_code(path)
