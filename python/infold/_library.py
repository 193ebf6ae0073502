"""libinfold by cffi. The declarations are those of infold.h itself (_header.py), so that they cannot drift from it.

The library is the one of INFOLD_LIBRARY, else the one beside this package, else that of the source tree around it,
else the system's. Calls release the interpreter's lock."""

from __future__ import annotations

import os
import pathlib
from typing import Any

try:
    from ._ffi import ffi as ffi  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from ._header import parse

    ffi = parse()

HERE = pathlib.Path(__file__).resolve().parent
NAME = "libinfold.so.0"


def places() -> list[str]:
    if "INFOLD_LIBRARY" in os.environ:
        return [os.environ["INFOLD_LIBRARY"]]
    folders = [HERE, HERE.parents[1] / "build/release"]
    return [str(f / NAME) for f in folders if (f / NAME).exists()] + [NAME]


try:
    lib: Any = ffi.dlopen(places()[0])
except OSError as error:
    raise ImportError(f"{error} (a library elsewhere is named by INFOLD_LIBRARY)") from None


class Error(Exception):
    """What the library refused or could not do, in its words; `status` is the name of infold_status without INFOLD_,
    such as "BAD_MODEL"."""

    __module__ = "infold"

    def __init__(self, message: str, status: str):
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


def text(chars: Any) -> str:
    """A C string that stays the library's."""
    return str(ffi.string(chars), "utf-8", "surrogateescape")


def taken(out: Any) -> str:
    """The string at *out, which was the caller's to free; "" where there is none."""
    string = text(out[0]) if out[0] else ""
    lib.infold_free(out[0])
    return string


def encode(string: str) -> bytes:
    if not isinstance(string, str):
        raise TypeError(f"a text is needed, not {type(string).__name__}")
    return whole(string.encode("utf-8", "surrogateescape"))


def whole(text: bytes) -> bytes:
    """As C reads it: a NUL would end it."""
    if b"\0" in text:
        raise ValueError("an embedded NUL")
    return text


def call(function: Any, *arguments: Any) -> None:
    """Calls function(err, *arguments) and raises its error."""
    err = ffi.new("infold_error *")
    status = function(err, *arguments)
    if status != lib.INFOLD_OK:
        name = ffi.string(ffi.cast("infold_status", status)).removeprefix("INFOLD_")
        raise Error(text(err.message), name)


def create(kind: str, function: Any, *arguments: Any, needs: Any = None) -> Any:
    """The infold_KIND that function(err, out, *arguments) makes; it is destroyed with the last reference to it, and
    keeps `needs` until then."""
    out = ffi.new(f"infold_{kind} **")
    call(function, out, *arguments)
    destroy = getattr(lib, f"infold_destroy_{kind}")
    return ffi.gc(out[0], lambda object, needs=needs: destroy(object))
