"""What is done with models: each function reads one from a path or bytes, and gives bytes of standard ONNX with all
weights inside, or what it found. folder is where the external data of bytes lies. What the library refuses is raised as
Error, whose status says why: a file that is no model BAD_FILE, a name that the model does not have USAGE."""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from ._library import Error, call, create, encode, ffi, lib, taken, whole

Path = Union[str, "os.PathLike[str]"]
Model = Union[Path, bytes]
Data = Union[Path, Mapping[str, Any]]


class Recalibrated(NamedTuple):
    """report: each layer's shifts, and the layers that were left with the reason, as `infold recalibrate --report json`
    has them."""

    model: bytes
    report: dict[str, Any]


class Edited(NamedTuple):
    """notes: what a new batch changed, and what may still hold the old one."""

    model: bytes
    notes: list[str]


# ---- to the library and back ----


@functools.cache
def pointers(struct: str) -> set[str]:
    return {name for name, field in ffi.typeof(struct).fields if field.type.kind == "pointer"}


def options(struct: str, values: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """The C structure, and what must stay as long as it: texts and lists of texts. Errors name the option."""
    made, keep = ffi.new(f"{struct} *"), []

    def pointer(value: Any) -> Any:
        if isinstance(value, ffi.CData):
            return value
        keep.append(c_names(value) if isinstance(value, (list, tuple)) else c_text(value))
        return keep[-1]

    for name, value in values.items():
        is_pointer = name in pointers(struct)
        try:
            if not is_pointer:
                setattr(made, name, value)
            elif value is not None:
                setattr(made, name, pointer(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise type(error)(f"{name}: {error}") from None
    return made, keep


def c_text(string: str) -> Any:
    return ffi.new("char[]", encode(string))


def c_names(names: Sequence[str]) -> Any:
    """Ended by NULL; the array keeps its texts."""
    texts = [c_text(name) for name in names]
    return ffi.gc(ffi.new("char *[]", [*texts, ffi.NULL]), lambda array, texts=texts: None)


def names_of(what: str, names: Optional[Sequence[str]]) -> Optional[list[str]]:
    """As a list; a text is none of its letters."""
    if isinstance(names, (str, bytes, Mapping)):
        raise TypeError(f"{what}: a list of names is needed, not {type(names).__name__}")
    return None if names is None else list(names)


def c_path(path: Optional[Path]) -> Any:
    return ffi.NULL if path is None else ffi.new("char[]", whole(os.fsencode(path)))


def load(model: Model, folder: Optional[Path] = None, **values: Any) -> Any:
    if not isinstance(model, (str, bytes, os.PathLike)):
        raise TypeError(f"a model is a path or bytes, not {type(model).__name__}")
    load_options, _ = options("infold_load_options", values)
    if isinstance(model, bytes):
        memory = ffi.from_buffer(model)
        return create("model", lib.infold_load_model_from_memory, memory, len(model), c_path(folder), load_options,
                      needs=memory)
    return create("model", lib.infold_load_model, c_path(model), load_options)


def save(model: Any) -> bytes:
    bytes_, size = ffi.new("void **"), ffi.new("size_t *")
    call(lib.infold_save_model_to_memory, bytes_, size, model)
    memory = ffi.gc(bytes_[0], lib.infold_free)
    return bytes(ffi.buffer(memory, size[0]))


class _Archive:
    """The path of data: the one that was given, or that of an .npz archive of the arrays while this lasts."""

    def __init__(self, data: Optional[Data]):
        self.data = data

    def __enter__(self) -> Optional[str]:
        if not isinstance(self.data, Mapping):
            return None if self.data is None else os.fspath(self.data)
        import tempfile  # sessions do without
        import zipfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = str(pathlib.Path(self.folder.name) / "data.npz")
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, array in self.data.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        return self.path

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(self.data, Mapping):
            return
        self.folder.cleanup()
        if isinstance(error, Error):  # it is the arrays' fault: nobody knows the file
            raise Error(str(error).replace(f"{self.path}: ", ""), error.status) from None


# ---- optimizing, verifying ----


def _found(function: Any, *arguments: Any) -> str:
    """The text that function(err, out, *arguments) gives; also where it raises, the text is freed."""
    out = ffi.new("char **")
    try:
        call(function, out, *arguments)
    finally:
        text = taken(out)
    return text


def _specialise(
    model: Any, shapes: Mapping[str, Sequence[int]], fix_dims: Mapping[str, int], batch: Optional[int]
) -> None:
    for name, dims in shapes.items():
        call(lib.infold_set_input_shape, model, c_text(name), ffi.new("int64_t[]", list(dims)), len(dims))
    for name, number in fix_dims.items():
        call(lib.infold_fix_dim, model, c_text(name), number)
    if batch is not None:
        call(lib.infold_fix_dim, model, ffi.NULL, batch)


def optimize(
    model: Model,
    *,
    only: Optional[Sequence[str]] = None,
    skip: Optional[Sequence[str]] = None,
    max_rewrites: Optional[int] = None,
    grow: bool = False,
    keep_bn: bool = False,
    no_provenance: bool = False,
    raise_opset: int = 0,
    bn_inference: bool = False,
    shapes: Optional[Mapping[str, Sequence[int]]] = None,
    fix_dims: Optional[Mapping[str, int]] = None,
    batch: Optional[int] = None,
    verify: bool = False,
    folder: Optional[Path] = None,
) -> bytes:
    """An optimized model.

    only, skip: names of passes to run alone, or not to run. max_rewrites: stops after so many. grow: the file may become
    larger. keep_bn: every BatchNormalization stays, for training on. no_provenance: does not note on new nodes which ones
    they came from. raise_opset: first raises the model to this version of ai.onnx, 13 or later. bn_inference: first puts
    BatchNormalization exported in training mode into inference mode, which changes what the model computes.
    shapes: whole shapes of inputs by name; fix_dims: numbers for free dimensions by name; batch: for the free first
    dimension of all inputs. Nothing else that is free is fixed.
    verify also runs both models, as the command does unless told otherwise, and raises DIFFERS where they do."""
    optimize_options, _keep = options("infold_optimize_options", {
        "only": names_of("only", only), "skip": names_of("skip", skip), "grow": grow,
        "has_max_rewrites": max_rewrites is not None, "max_rewrites": max_rewrites or 0, "keep_bn": keep_bn,
        "no_provenance": no_provenance, "raise_opset": raise_opset, "bn_inference": bn_inference})
    loaded = load(model, folder)
    _specialise(loaded, shapes or {}, fix_dims or {}, batch)
    report = ffi.new("infold_report **")
    better = create("model", lib.infold_optimize_model, report, loaded, optimize_options, needs=loaded)
    owner = ffi.gc(report[0], lib.infold_destroy_report)
    if verify:
        call(lib.infold_verify_report, owner, ffi.NULL)
    return save(better)


def verify(
    a: Model,
    b: Model,
    *,
    inputs: Optional[Data] = None,
    batches: Optional[Sequence[int]] = None,
    seed: int = 0,
    tolerance: float = 0,
    threads: int = 0,
    max_memory: int = 0,
    max_seconds: float = 0,
    folder: Optional[Path] = None,
) -> str:
    """Runs both models on the same inputs: a table of the worst difference of each output; DIFFERS is raised where one
    is too large, and names the first value that differs.

    inputs: arrays by name, an .npz archive or a folder of input_0.pb …; None for random ones, whose free first dimension
    becomes each of batches (1 and 3). tolerance: the part of an output's largest magnitude that it may differ by (1e-4).
    max_memory: bytes of each session; max_seconds: raises LIMIT after about this time. 0 is the default."""
    a_model, b_model = load(a, folder), load(b, folder)
    numbers = ffi.NULL if batches is None else ffi.new("int64_t[]", list(batches))
    with _Archive(inputs) as path:
        verify_options, _keep = options("infold_verify_options", {
            "inputs": path, "batches": numbers, "n_batches": len(batches or ()), "seed": seed, "tolerance": tolerance,
            "threads": threads, "max_memory": max_memory, "max_seconds": max_seconds})
        return _found(lib.infold_verify_models, a_model, b_model, verify_options)


def verify_certificate(
    certificate: Path,
    original: Optional[Path] = None,
    optimized: Optional[Path] = None,
    *,
    threads: int = 0,
    max_memory: int = 0,
    max_seconds: float = 0,
) -> str:
    """Checks a certificate of `infold optimize --certificate`: the files' hashes, then the errors, by running both
    models again. A table of the errors; DIFFERS says what does not hold. The models lie where the certificate says
    unless they are given."""
    verify_options, _ = options("infold_verify_options",
                                {"threads": threads, "max_memory": max_memory, "max_seconds": max_seconds})
    return _found(lib.infold_verify_certificate, c_path(certificate), c_path(original), c_path(optimized), verify_options)


# ---- BatchNormalization ----


def doctor(model: Model, *, sarif: bool = False, folder: Optional[Path] = None) -> dict[str, Any]:
    """Every BatchNormalization examined: `batch_normalizations` with mode, parameters and what the optimizer
    does with each, `findings` with rule, severity, message and advice, as `infold doctor --json` has them; or SARIF 2.1.0."""
    diagnosis = create("diagnosis", lib.infold_diagnose_model, load(model, folder))
    found: dict[str, Any] = json.loads(
        _found(lib.infold_format_diagnosis, diagnosis, c_text("sarif" if sarif else "json"), 0))
    return found


def recalibrate(
    model: Model,
    data: Data,
    *,
    batch: int = 0,
    momentum: Union[None, float, str] = None,
    sample_variance: bool = False,
    threads: int = 0,
    max_memory: int = 0,
    folder: Optional[Path] = None,
) -> Recalibrated:
    """A model with the running statistics that its inputs' data has; nothing else changes. UNSUPPORTED is raised when it
    has no layer to measure, as when they were folded.

    data: arrays by the names of inputs, whose first dimension counts samples; an .npz archive of them, or a folder of
    such archives. batch: samples at a time (32). momentum: None for the statistics of all data together, a number in
    [0, 1] for the part of the old that each batch keeps, "average" for the average over batches. sample_variance:
    divides by n - 1. max_memory: bytes to hold."""
    if isinstance(momentum, str) and momentum != "average":
        raise ValueError(f"momentum is a number in [0, 1] or 'average', not '{momentum}'")
    estimate = lib.INFOLD_EXACT if momentum is None else lib.INFOLD_AVERAGE if momentum == "average" else lib.INFOLD_MOMENTUM
    loaded, report = load(model, folder), ffi.new("char **")
    with _Archive(data) as path:
        recalibrate_options, _keep = options("infold_recalibrate_options", {
            "data": path, "batch": batch, "estimate": estimate,
            "momentum": float(momentum or 0) if estimate == lib.INFOLD_MOMENTUM else 0.0,
            "sample_variance": sample_variance, "threads": threads, "max_memory": max_memory, "format": "json"})
        measured = create("model", lib.infold_recalibrate_model, report, loaded, recalibrate_options, needs=loaded)
    return Recalibrated(save(measured), json.loads(taken(report)))


# ---- parts and edits ----


def extract(
    model: Model,
    inputs: Optional[Sequence[str]] = None,
    outputs: Optional[Sequence[str]] = None,
    *,
    folder: Optional[Path] = None,
) -> bytes:
    """The part of a model that computes some values from others, by their names; None for those that the model has."""
    names = names_of("inputs", inputs), names_of("outputs", outputs)
    loaded = load(model, folder)
    call(lib.infold_extract_model, loaded, *(ffi.NULL if n is None else c_names(n) for n in names))
    return save(loaded)


def edit(
    model: Model,
    *,
    add_outputs: Sequence[str] = (),
    remove_outputs: Sequence[str] = (),
    rename: Optional[Mapping[str, str]] = None,
    batch: Union[None, int, str] = None,
    folder: Optional[Path] = None,
) -> Edited:
    """A model with other outputs, names and first dimension of its inputs, changed in this order. rename: new names by
    old ones. batch: a number, or a name, which makes it free."""
    loaded, notes = load(model, folder), ""
    for name in names_of("add_outputs", add_outputs) or ():
        call(lib.infold_add_output, loaded, c_text(name))
    for name in names_of("remove_outputs", remove_outputs) or ():
        call(lib.infold_remove_output, loaded, c_text(name))
    for old, new in (rename or {}).items():
        call(lib.infold_rename_value, loaded, c_text(old), c_text(new))
    if batch is not None:
        notes = _found(lib.infold_set_batch, loaded, c_text(str(batch)))
    return Edited(save(loaded), notes.splitlines())


def inspect(model: Model, what: str = "summary", *, folder: Optional[Path] = None) -> str:
    """What there is to say about a model: "summary", "nodes", "weights", "norms", "text", "json" or "dot"."""
    return _found(lib.infold_inspect_model, load(model, folder), c_text(what), 0)
