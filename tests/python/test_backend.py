"""ONNX's own test runner over infold.backend: the cases that the package onnx carries and passing.txt lists.

Those of kind `real` are left out: the runner downloads models for some, and writes into the user's home for others."""

import pathlib
import sys

import numpy as np
import onnx.backend.test
from onnx.backend.test.loader import load_model_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
import infold.backend  # noqa: E402

# What the runner itself cannot compare, and a test below does: it takes len() of a sequence's items, here scalars.
INCOMPARABLE = {"test_loop16_seq_none"}

passing = {name.partition("/")[2] for name in (ROOT / "tests/ops/conformance/passing.txt").read_text().split()}
cases = onnx.backend.test.BackendTest(infold.backend, __name__).test_cases
del cases["OnnxBackendRealModelTest"]


def names_of(case):
    return [n for n in vars(case) if n.startswith("test_")]


# Taken out rather than skipped: other devices are half of all.
for case in cases.values():
    for name in names_of(case):
        if name.removesuffix("_cpu") not in passing - INCOMPARABLE:
            delattr(case, name)
globals().update(cases)


def test_most_known_cases_are_carried():
    found = {n.removesuffix("_cpu") for case in cases.values() for n in names_of(case)}
    assert found <= passing and len(found) > 0.98 * len(passing)


def test_sequences_of_scalars():
    by_name = {c.name: c for c in load_model_tests(kind="node")}
    for name in INCOMPARABLE:
        session = infold.backend.prepare(by_name[name].model)
        for inputs, expected in by_name[name].data_sets:
            for got, wanted in zip(session.run(inputs), expected, strict=True):
                assert len(got) == len(wanted)
                for a, b in zip(got, wanted):
                    assert a.dtype == b.dtype and a.shape == b.shape
                    np.testing.assert_array_equal(a, b)


def test_a_node_by_itself():
    node = onnx.helper.make_node("Clip", ["x", "", "most"], ["y"])
    x = np.array([1, 5, 9], np.float32)
    outputs = infold.backend.run_node(node, [x, np.float32(4)])
    assert outputs.y.tolist() == outputs["y"].tolist() == [1, 4, 4]
    old = onnx.helper.make_node("Clip", ["x"], ["y"], min=2.0, max=6.0)
    assert infold.backend.run_node(old, [x], opset_version=6)[0].tolist() == [2, 5, 6]


def test_devices():
    assert infold.backend.supports_device("CPU") and infold.backend.supports_device("CPU:0")
    assert not infold.backend.supports_device("CUDA")
