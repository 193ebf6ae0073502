"""Shapes that a model computes are known to inference as expressions of its free dimensions, and hold when it runs."""
import json
import math
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nodes import COMMAND, Nodes

FIRST = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", 8, 6])
CONSTANTS = {"zero": np.int64(0), "one": np.int64(1), "two": np.array([2]), "minus": np.array([-1]),
             "factors": np.array([4, 1, 2, 3]), "target": np.array([-1, -1, 8, -1])}
# output: (steps "op inputs -> output attributes", the shape it must be known to have)
CHAINS = {
    "mul": (["Mul s factors"], ["N*4", "C", "16", "18"]),
    "half": (["Mul s factors", "Div . two"], ["N*2", "floor(C/2)", "8", "9"]),
    "product": (["ReduceProd s"], ["N*C*48"]),
    "total": (["ReduceSum s"], ["N + C + 14"]),
    "same": (["Equal target minus", "Where . s target"], ["N", "C", "8", "6"]),
    "other_type": (["Cast s to=6", "Add . .", "Cast . to=7"], ["N*2", "C*2", "16", "12"]),
    "larger": (["Max s two", "Min . s"], ["min(N, max(N, 2))", "min(C, max(C, 2))", "8", "6"]),
    "negated": (["Neg s", "Sub two .", "Sub . two"], ["N", "C", "8", "6"]),
    "rest": (["Mul s factors", "Mod . two"], ["0", "C - floor(C/2)*2", "0", "0"]),
    "identity": (["Identity s", "CastLike . two"], ["N", "C", "8", "6"]),
}


def make_model():
    nodes = [helper.make_node("Constant", [], [n], value=numpy_helper.from_array(np.asarray(v))) for n, v in CONSTANTS.items()]
    nodes.append(helper.make_node("Shape", ["x"], ["s"]))
    for name, (steps, _) in CHAINS.items():
        last = None
        for i, step in enumerate(steps):
            op, *words = step.split()
            attrs = {k: int(v) for k, v in (w.split("=") for w in words if "=" in w)}
            inputs = [last if w == "." else w for w in words if "=" not in w]
            last = f"{name}_{i}"
            nodes.append(helper.make_node(op, inputs, [last], **attrs))
        nodes.append(helper.make_node("ConstantOfShape", [last], [name]))
    nodes.append(helper.make_node("Size", ["x"], ["size"]))
    nodes.append(helper.make_node("Range", ["zero", "size", "one"], ["range"]))
    graph = helper.make_graph(nodes, "g", [FIRST], [onnx.ValueInfoProto(name=n) for n in [*CHAINS, "range"]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


EXPECTED = {name: dims for name, (_, dims) in CHAINS.items()} | {"range": ["N*C*48"]}


def test_shapes_are_known(tmp_path):
    onnx.save(make_model(), tmp_path / "m.onnx")
    p = subprocess.run([*COMMAND, "inspect", tmp_path / "m.onnx", "--json"], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    known = {o["name"]: [str(d) for d in o["shape"]] for o in json.loads(p.stdout)["outputs"]}
    assert known == EXPECTED


def test_shapes_hold(tmp_path):
    onnx.save(make_model(), tmp_path / "m.onnx")
    sizes = {"N": 3, "C": 5, "floor": math.floor, "min": min, "max": max}
    np.savez(tmp_path / "in.npz", x=np.zeros((3, 5, 8, 6), np.float32))
    p = subprocess.run([*COMMAND, "run", tmp_path / "m.onnx", "--inputs", tmp_path / "in.npz", "--output", tmp_path / "out.npz"],
                       capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    shapes = {name: list(a.shape) for name, a in np.load(tmp_path / "out.npz").items()}
    assert shapes == {name: [eval(d, sizes) for d in dims] for name, dims in EXPECTED.items()}


def test_elements_beyond_their_type_wrap():
    a, b, u = np.array([2**31 - 1, -2**31, 5], np.int32), np.array([7, -1, 2], np.int32), np.array([2**64 - 1, 1], np.uint64)
    nodes = Nodes(18)
    with np.errstate(over="ignore"):
        for op, f in ("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply):
            nodes.add(op, [a, b], [f(a, b)], known=(0, 1))
        nodes.add("Neg", [a], [-a], known=(0,))
        nodes.add("ReduceProd", [a], [np.prod(a, dtype=np.int32)], known=(0,), keepdims=0)
        nodes.add("Cast", [np.array([2**40 + 3])], [np.array([3], np.int32)], known=(0,), to=TensorProto.INT32)
        nodes.add("ReduceMax", [u], [u.max()], known=(0,), keepdims=0)
        nodes.add("ReduceSum", [u.astype(np.uint32)], [np.array([0], np.uint32)], known=(0,))
    nodes.check()
