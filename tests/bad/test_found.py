"""Malformed models that mutation once found: each, by every command, a result or one clear error."""

import os
import pathlib
import subprocess

import pytest
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()


def one_node(op, shape, opset=23, **attributes):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    inputs = {"RMSNormalization": ["x", "w"]}.get(op, ["x"])
    w = [helper.make_tensor_value_info("w", TensorProto.FLOAT, [None])] if len(inputs) == 2 else []
    node = helper.make_node(op, inputs, ["y"], **attributes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", [x, *w], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def transposed_conv(strides):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16] + [2] * len(strides))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    w = helper.make_tensor("w", TensorProto.FLOAT, [16, 16] + [1] * len(strides), [1.0] * 256)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=strides, pads=strides + [0] * len(strides))
    return helper.make_model(helper.make_graph([node], "one", [x], [y], [w]), opset_imports=[helper.make_opsetid("", 17)])


CASES = {
    "an axis of no dimension": (one_node("RMSNormalization", [2, 3], axis=-2**31), None),
    "strides whose product overflows": (transposed_conv([2**30] * 3), None),
    "an input of 64 GB": (one_node("Neg", [2**34]), "limit"),
}


@pytest.mark.parametrize("command", ["run", "optimize", "inspect", "doctor"])
@pytest.mark.parametrize("case", CASES)
def test_answers(case, command, tmp_path):
    model, refusal = CASES[case]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    given = [w for i in model.graph.input for w in ("--input", f"{i.name}=random")]
    words = {"optimize": ["-o", str(tmp_path / "out.onnx")], "run": given}.get(command, [])
    done = subprocess.run([COMMAND, command, str(tmp_path / "model.onnx"), *words], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode >= 0 and "Sanitizer" not in done.stderr and "runtime error" not in done.stderr
    if refusal and command in ("run", "optimize"):
        assert refusal in done.stderr
