"""Verifying models that quantize: a fold moves the last bits, and a value between two steps goes the other way, seldom and by
one step. That is no difference; whatever goes wrong more often, or farther, is one."""

import pathlib
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bn"))
import bn  # noqa: E402


def net(seed, kind):
    """Conv, BatchNormalization, QuantizeLinear and so on; its output has steps ("steps") or was summed from some ("sums")."""
    r = np.random.default_rng(seed)
    init, nodes, value, channels = [], [], "x", 3
    for i in range(2 if kind == "steps" else 3):
        parameters, names = bn.parameters(bn.trained(32, 9 * seed + i), f"bn{i}")
        weights = r.normal(0, (9 * channels) ** -0.5, (32, channels, 3, 3)).astype(np.float32)
        init += parameters + bn.constants(**{f"w{i}": weights, f"s{i}": np.float32(r.uniform(0.03, 0.05)), f"z{i}": np.uint8(120)})
        nodes += [bn.node("Conv", [value, f"w{i}"], [f"c{i}"], pads=[1] * 4),
                  bn.node("BatchNormalization", [f"c{i}", *names], [f"b{i}"]),
                  bn.node("QuantizeLinear", [f"b{i}", f"s{i}", f"z{i}"], [f"q{i}"]),
                  bn.node("DequantizeLinear", [f"q{i}", f"s{i}", f"z{i}"], [f"d{i}"])]
        value, channels = f"d{i}", 32
    nodes = nodes[:-1] if kind == "steps" else nodes[:-2]
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 48, 48])],
                              [helper.make_tensor_value_info("y", TensorProto.UINT8 if kind == "steps" else TensorProto.FLOAT, None)],
                              init)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["steps", "sums"])
def test_folding_is_no_difference(kind, seed, tmp_path):
    path = bn.save(net(seed, kind), tmp_path / "model.onnx")
    bn.infold("optimize", path, "-o", tmp_path / "out.onnx", "--seed", seed)
    assert "BatchNormalization" not in {n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node}


def changed(model, name, change):
    model = onnx.ModelProto.FromString(model.SerializeToString())
    tensor = next(t for t in model.graph.initializer if t.name == name)
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(array), array.dtype), name))
    return model


def one_weight(a):
    a = a.copy()
    a[5, 2, 1, 1] += 0.02
    return a


CHANGES = {"s0": lambda a: a * 1.002, "s1": lambda a: a * 1.002, "w1": one_weight, "w0": lambda a: a * 1.001,
           "bn1.B": lambda a: a + 0.001, "bn0.var": lambda a: a * 1.005}
CASES = [(kind, *case) for kind in ("steps", "sums") for case in CHANGES.items()] + [("steps", "z1", lambda a: a + 1)]


@pytest.mark.parametrize("kind, name, change", CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_what_is_wrong_is_a_difference(kind, name, change, tmp_path):
    model = net(0, kind)
    a, b = bn.save(model, tmp_path / "a.onnx"), bn.save(changed(model, name, change), tmp_path / "b.onnx")
    done = bn.infold("verify", a, b, check=False)
    assert done.returncode == 1 and "output 'y' [" in done.stderr, done.stdout
