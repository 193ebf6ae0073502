"""Small models about BatchNormalization, and the command on them."""

import os
import pathlib
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
FLOAT = TensorProto.FLOAT


def infold(*args, check=True):
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def trained(n, seed=0):
    """scale, B, mean, var of n channels as training leaves them."""
    r = np.random.default_rng(seed)
    return [r.uniform(0.5, 1.5, n), r.normal(0, 0.2, n), r.normal(0, 0.3, n), r.uniform(0.3, 2, n)]


def node(op_type, inputs, outputs, name=None, **attributes):
    return helper.make_node(op_type, inputs, outputs, name=name or outputs[0], **attributes)


def constants(**arrays):
    return [numpy_helper.from_array(np.asarray(a), k) for k, a in arrays.items()]


def parameters(values, name="bn", dtype=np.float32):
    names = [f"{name}.{k}" for k in ("scale", "B", "mean", "var")]
    return constants(**{k: np.asarray(v, dtype) for k, v in zip(names, values)}), names


def model(nodes, initializers, shape, opset=17, outputs=("y",), dtype=FLOAT, functions=(), ir=8):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(o, dtype, None) for o in outputs], initializers)
    domains = {f.domain for f in functions}
    return helper.make_model(graph, ir_version=ir, functions=list(functions), opset_imports=[
        helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)])


def conv_bn(values=None, opset=17, outputs=("b",), shape=("N", 3, 8, 8), weight=None, dtype=np.float32, **attributes):
    """x -> Conv -> BatchNormalization -> Relu -> y, with these outputs of the BatchNormalization."""
    values = trained(4) if values is None else values
    init, names = parameters(values, dtype=dtype)
    rank = len(shape)
    if weight is None:
        weight = np.random.default_rng(5).normal(0, 0.3, (len(values[0]), shape[1]) + (3,) * (rank - 2))
    conv = dict(pads=[1] * 2 * (rank - 2)) if rank > 2 else {}
    nodes = [node("Conv", ["x", "w"], ["c"], "conv", **conv),
             node("BatchNormalization", ["c", *names], list(outputs), "bn", **attributes),
             node("Relu", [outputs[0]], ["y"], "relu")]
    return model(nodes, init + constants(w=np.asarray(weight, dtype)), shape, opset,
                 dtype=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def save(m, path):
    onnx.save(m, path)
    return path
