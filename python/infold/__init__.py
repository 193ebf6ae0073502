"""infold: optimize, inspect and run ONNX models on CPUs. A thin layer over infold.h, whose words and defaults it keeps.

    smaller = infold.optimize("net.onnx", verify=True)
    session = infold.Session(smaller)
    logits, = session.run(None, {"image": pixels})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Optional

from . import _types
from ._library import Error, call, create, ffi, lib, text
from ._models import (Edited, Model, Path, Recalibrated, doctor, edit, extract, inspect, load, names_of, optimize,
                      options, recalibrate, verify, verify_certificate)
from ._pool import shared_pool
from ._values import from_value, input_value

__all__ = ["Edited", "Error", "Recalibrated", "Session", "Value", "doctor", "edit", "extract", "inspect", "optimize",
           "recalibrate", "verify", "verify_certificate"]
__version__: str = text(lib.infold_version())


class Value(NamedTuple):
    """An input or output: its type as infold writes it, and a tensor's shape, in which numbers are fixed, names are
    free and None is unknown. The shape is None when the rank is unknown, and for what is no tensor."""

    name: str
    type: str
    shape: Optional[tuple[_types.Dim, ...]]


class Session:
    """A model made ready to run. It does not change, any number of threads may run it at once, and pickling keeps the
    path, or the bytes, and the options.

    model: a path, or the bytes of a file; folder is then where its external data lies.
    threads: 0 for as many as this process may use, which such sessions share: of runs at the same time one has them all.
    reference: every node by its reference kernel, in double inside. float64: a float32 model in double, by these.
    no_optimize: the graph as it is. exact_conv: no convolution by Winograd's algorithm or a fast Fourier transform.
    max_memory: bytes that the model and the session may hold each; 0: 2 GiB and some times the weights and inputs.
    max_steps: loop trips of a run; 0: a million. cpu: at most "ref", "avx2" or "avx512".
    allow_links: external data may be behind symbolic or hard links."""

    def __init__(
        self,
        model: Model,
        *,
        threads: int = 0,
        reference: bool = False,
        float64: bool = False,
        no_optimize: bool = False,
        exact_conv: bool = False,
        max_memory: int = 0,
        max_steps: int = 0,
        cpu: Optional[str] = None,
        folder: Optional[Path] = None,
        allow_links: bool = False,
    ):
        run = {"threads": threads, "reference": reference, "float64": float64, "no_optimize": no_optimize,
               "exact_conv": exact_conv, "max_memory": max_memory, "max_steps": max_steps, "cpu": cpu}
        reading = {"max_memory": max_memory, "allow_links": allow_links}
        self._state = (model, {**run, **reading, "folder": folder})
        loaded = load(model, folder, **reading)
        session_options, self._keep = options("infold_session_options",
                                              {**run, "pool": None if threads else shared_pool()})
        self._session = create("session", lib.infold_create_session, loaded, session_options, needs=loaded)

    def __repr__(self) -> str:
        def names(values: list[Value]) -> str:
            return ", ".join(f"{v.name} {v.type}" for v in values)

        return f"<infold.Session: {names(self.inputs)} → {names(self.outputs)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, self._state

    @cached_property
    def inputs(self) -> list[Value]:
        """In the model's order."""
        return self._describe("input")

    @cached_property
    def outputs(self) -> list[Value]:
        """In the model's order."""
        return self._describe("output")

    @cached_property
    def _types(self) -> list[_types.Type]:
        return [_types.parse(v.type) for v in self.inputs]

    def _describe(self, what: str) -> list[Value]:
        def get(field: str, i: int) -> str:
            return text(getattr(lib, f"infold_get_{what}_{field}")(self._session, i))

        n = getattr(lib, f"infold_get_n_{what}s")(self._session)
        types = [get("type", i) for i in range(n)]
        return [Value(get("name", i), t, _types.parse(t).shape) for i, t in enumerate(types)]

    def _wanted(self, output_names: Optional[Sequence[str]]) -> list[int]:
        places = {v.name: i for i, v in enumerate(self.outputs)}
        names = names_of("output_names", output_names)
        unknown = [n for n in names or () if n not in places]
        if unknown:
            raise Error(f"the model has no output '{unknown[0]}'; it has {', '.join(places)}", "USAGE")
        return list(places.values()) if names is None else [places[n] for n in names]

    def _bind(self, feeds: Mapping[str, Any]) -> list[Any]:
        if not isinstance(feeds, Mapping):
            raise TypeError(f"feeds: a dictionary from names to inputs is needed, not {type(feeds).__name__}")
        names = [v.name for v in self.inputs]
        unknown = [n for n in feeds if n not in names]
        if unknown:
            raise Error(f"the model has no input '{unknown[0]}'; it has {', '.join(names)}", "USAGE")
        return [input_value(n, feeds[n], t) if n in feeds else ffi.NULL for n, t in zip(names, self._types)]

    def run(self, output_names: Optional[Sequence[str]] = None, feeds: Optional[Mapping[str, Any]] = None) -> list[Any]:
        """The outputs of these names (None: all), in this order, from inputs by name; inputs with defaults may be left
        out. Tensors are NumPy arrays (strings: of objects), sequences lists, maps dictionaries, an absent optional is
        None."""
        wanted, n = self._wanted(output_names), len(self.outputs)
        inputs = self._bind({} if feeds is None else feeds)
        mask = bytes(i in wanted for i in range(n))
        outputs = ffi.new("infold_value *[]", n)
        call(lib.infold_run, outputs, self._session, ffi.new("infold_value *[]", inputs), ffi.from_buffer(mask))
        owners = {i: ffi.gc(outputs[i], lib.infold_destroy_value) for i in set(wanted)}
        return [from_value(owners[i], owners[i]) for i in wanted]


def _restore(model: Model, options: Mapping[str, Any]) -> Session:
    return Session(model, **options)
