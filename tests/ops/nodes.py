"""Runs single operators through the command line: many nodes at a time, in one model without edges.

The command is $INFOLD, or build/release/infold."""
import os
import pathlib
import shlex
import subprocess
import tempfile

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = shlex.split(os.environ.get("INFOLD", str(ROOT / "build/release/infold")))

TEXT = {"tensor(%s)" % helper.tensor_dtype_to_string(n).split(".")[1].lower(): n
        for n in TensorProto.DataType.values() if n}


def np_dtype(number):
    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


def dtypes_of(op, version, param="T", domain=""):
    """The element types of a type variable, as numpy dtypes."""
    schema = onnx.defs.get_schema(op, version, domain)
    for c in schema.type_constraints:
        if c.type_param_str == param:
            return [np_dtype(TEXT[t]) for t in c.allowed_type_strs if t in TEXT]
    raise KeyError(param)


def versions_of(op, domain=""):
    return sorted(s.since_version for s in onnx.defs.get_all_schemas_with_history()
                  if s.name == op and s.domain == domain and not s.deprecated)


def is_float(dtype):
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


# Evaluation by the operators' references, which compute in double; the kernels' own bounds are test_lowered.py's.
REFERENCE = ("--backend", "ref")


class Failed(Exception):
    """The command refused; the text is what it said."""


class Nodes:
    """Nodes of one opset, with what each should give."""

    def __init__(self, opset, domain=""):
        self.opset, self.domain = opset, domain
        self.nodes, self.inputs, self.outputs, self.expected = [], [], [], []
        self.initializers = []

    def add(self, op, inputs, expected, known=(), **attrs):
        """expected: a list of arrays, or of functions that check an array. known: the inputs that are initializers."""
        at = len(self.nodes)
        names = []
        for i, a in enumerate(inputs):
            names.append("" if a is None else f"i{at}_{i}")
            if i in known:
                self.initializers.append(numpy_helper.from_array(np.asarray(a), names[-1]))
            elif a is not None:
                self.inputs.append((names[-1], np.asarray(a)))
        outs = [f"o{at}_{i}" if e is not None else "" for i, e in enumerate(expected)]
        self.nodes.append(helper.make_node(op, names, outs, name=f"n{at}", domain=self.domain, **attrs))
        for name, e in zip(outs, expected):
            if e is not None:
                self.outputs.append(name)
                self.expected.append((op, attrs, inputs, e))
        return self

    def model(self):
        def info(name, a):
            if a.dtype.kind in "OUS":
                return helper.make_tensor_value_info(name, TensorProto.STRING, a.shape)
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        graph = helper.make_graph(self.nodes, "nodes", [info(n, a) for n, a in self.inputs],
                                  [onnx.ValueInfoProto(name=o) for o in self.outputs], self.initializers)
        opsets = [helper.make_opsetid("", self.opset if not self.domain else 21)]
        if self.domain:
            opsets.append(helper.make_opsetid(self.domain, self.opset))
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def run(self, *options):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = pathlib.Path(tmp)
            (tmp / "in").mkdir(), (tmp / "out").mkdir()
            onnx.save(self.model(), tmp / "m.onnx")
            for i, (_, a) in enumerate(self.inputs):
                a = a.astype(object) if a.dtype.kind in "US" else a
                (tmp / "in" / f"input_{i}.pb").write_bytes(numpy_helper.from_array(a).SerializeToString())
            p = subprocess.run([*COMMAND, "run", tmp / "m.onnx", "--inputs", tmp / "in", "--output-dir",
                                tmp / "out", *options], capture_output=True, text=True, timeout=60)
            if p.returncode < 0:
                raise AssertionError(f"ended by signal {-p.returncode}: {p.stderr}")
            if p.returncode:
                raise Failed(p.stderr.strip())
            result = []
            for i in range(len(self.outputs)):
                t = TensorProto.FromString((tmp / "out" / f"output_{i}.pb").read_bytes())
                result.append(numpy_helper.to_array(t))
            return result

    def check(self, ulps=0, atol=0, options=()):
        """Every output has the expected type, shape and elements (floats: within ulps of their type, or atol)."""
        for got, (op, attrs, inputs, expected) in zip(self.run(*options), self.expected):
            what = f"{op}-{self.opset} {attrs} of {[None if a is None else (a.dtype.name, a.shape) for a in map(lambda v: v if v is None else np.asarray(v), inputs)]}"
            if callable(expected):
                assert expected(got), f"{what}: {got}"
                continue
            expected = np.asarray(expected)
            if expected.dtype.kind in "US":
                expected = expected.astype(object)
            assert got.dtype == expected.dtype and got.shape == expected.shape, \
                f"{what}: got {got.dtype}{got.shape}, expected {expected.dtype}{expected.shape}"
            same = equal(got, expected, ulps, atol)
            assert same.all(), f"{what}: {got[~same][:5]} instead of {expected[~same][:5]}"


def profile(model, *options):
    """[(operator, kernel)] of the nodes that a session runs, the slowest where they are many; the options say what is fed
    to the model, a path."""
    p = subprocess.run([*COMMAND, "run", model, "--profile", *options], capture_output=True, text=True, timeout=60)
    assert p.returncode == 0, p.stderr
    head, _, *rows = p.stdout[p.stdout.index("\nNode"):].strip().split("\n\n")[0].splitlines()
    return [tuple(row[head.index(column):].split("  ")[0] for column in ("Operator", "Kernel")) for row in rows
            if "nodes that took less" not in row]


def equal(got, expected, ulps, atol):
    """Element by element; NaN equals NaN."""
    if not is_float(got.dtype):
        return got == expected
    a, b = got.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if (ulps or atol) and not same.all():
        info = ml_dtypes.finfo(got.dtype) if got.dtype.kind == "V" else np.finfo(got.dtype)
        unit = np.maximum(np.abs(b), float(info.smallest_normal)) * float(info.eps)
        with np.errstate(invalid="ignore"):
            same |= np.abs(a - b) <= ulps * unit + atol
    return same


def refuses(nodes, *words):
    """The command ends with an error that says all of the words."""
    try:
        nodes.run()
    except Failed as e:
        text = str(e).lower()
        assert text and all(w.lower() in text for w in words), text
        return
    raise AssertionError("accepted")


def samples(dtype, shape, rng, low=-8, high=8):
    """Random elements of a type, as numpy computes with them."""
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if is_float(dtype):
        return rng.uniform(low, high, shape).astype(dtype)
    info = ml_dtypes.iinfo(dtype)
    return rng.integers(max(int(info.min), int(np.ceil(low))), min(int(info.max), int(high)), shape,
                        endpoint=True).astype(dtype)
