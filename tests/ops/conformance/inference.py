"""What infold infers of the outputs of ONNX's own test cases, beside what they are and what onnx.shape_inference says.

usage: inference.py INFOLD CASES

Each case is asked twice: as it is, and with its small inputs (shapes, axes, scales) made initializers, so that values
decide. Declared types of outputs and of what stands between are taken out first: nothing may rest on a claim. It is an
error to contradict what the case computes, or to say less than onnx does where onnx is right."""

import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import onnx
from onnx import TensorProto, helper, shape_inference

SMALL = 64
# Carried values that are optional before the first trip and a sequence after it: whether there is a trip shows at run.
EITHER = {"test_loop16_seq_none"}
UNKNOWN = None, None  # dtype, shape


def graphs_of(graph):
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for g in [a.g] * a.HasField("g") + list(a.graphs):
                yield from graphs_of(g)


def forget_types(model):
    for graph in graphs_of(model.graph):
        del graph.value_info[:]
        for output in graph.output:
            output.ClearField("type")


def make_constant(model, data):
    """Small inputs become initializers."""
    kept = []
    for i, v in enumerate(model.graph.input):
        at = data / f"input_{i}.pb"
        tensor = at.exists() and v.type.WhichOneof("value") == "tensor_type" and TensorProto.FromString(at.read_bytes())
        if tensor and len(tensor.dims) <= 1 and sum(tensor.dims) <= SMALL and tensor.data_type != TensorProto.STRING:
            tensor.name = v.name
            model.graph.initializer.append(tensor)
        else:
            kept.append(v)
    del model.graph.input[:]
    model.graph.input.extend(kept)


def of_proto(t):
    """('float', [1, None]); ('seq(float)', None)."""
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        shape = None
        if t.tensor_type.HasField("shape"):
            shape = [d.dim_value if d.HasField("dim_value") else None for d in t.tensor_type.shape.dim]
        dtype = t.tensor_type.elem_type
        return helper.tensor_dtype_to_string(dtype).split(".")[1].lower() if dtype else None, shape
    inner = {"sequence_type": ("seq", "elem_type"), "optional_type": ("optional", "elem_type"),
             "map_type": ("map", "value_type")}.get(kind)
    if not inner:
        return UNKNOWN
    element = of_proto(getattr(getattr(t, kind), inner[1]))[0]
    return (f"{inner[0]}({element})" if element else None), None


def of_infold(infold, path):
    done = subprocess.run([infold, "inspect", "--json", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = []
    for output in json.loads(done.stdout)["outputs"]:
        dtype = re.sub(r"\[[^\]]*\]", "", output["type"])
        shape = output["shape"]
        found.append((None if "?" in dtype or not dtype else dtype,
                      shape and [d if isinstance(d, int) else None for d in shape]
                      if shape is not None else None))
    return found


def of_onnx(model):
    try:
        return [of_proto(o.type) for o in shape_inference.infer_shapes(model, data_prop=True).graph.output]
    except Exception:  # what onnx cannot infer at all, infold need not
        return [UNKNOWN] * len(model.graph.output)


def agrees(said, true):
    """What is said is true as far as it goes."""
    if said[0] and true[0] and said[0] != true[0]:
        return False
    if said[1] is None or true[1] is None:
        return True
    return len(said[1]) == len(true[1]) and all(None in (a, b) or a == b for a, b in zip(said[1], true[1]))


def says_at_least(said, other):
    if other[0] and not said[0]:
        return False
    if other[1] is None:
        return True
    return said[1] is not None and all(b is None or a is not None for a, b in zip(said[1], other[1]))


def judge(infold, case, constant, work):
    model = onnx.load(case / "model.onnx")
    true = [of_proto(o.type) for o in model.graph.output]
    names = [o.name for o in model.graph.output]
    forget_types(model)
    if constant:
        make_constant(model, case / "test_data_set_0")
    path = pathlib.Path(work) / f"{case.parent.name}_{case.name}_{constant}.onnx"
    onnx.save(model, path)
    mine, theirs = of_infold(infold, path), of_onnx(model)
    path.unlink()
    for name, m, o, t in zip(names, mine, theirs, true):
        if not agrees(m, t):
            yield f"{case.name}: {name} is {t}, inferred {m}"
        elif agrees(o, t) and case.name not in EITHER and not says_at_least(m, o):
            yield f"{case.name}: {name}: inferred {m}, onnx {o}"


def judge_all(infold, cases):
    """Every disagreement as a line."""
    folders = sorted(p.parent for p in pathlib.Path(cases).glob("*/*/model.onnx"))
    assert folders, f"no cases in {cases}"
    with tempfile.TemporaryDirectory() as work, concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.map(lambda job: list(judge(infold, *job, work)), [(f, c) for f in folders for c in (False, True)])
        return [line for lines in found for line in lines]


if __name__ == "__main__":
    lines = judge_all(*sys.argv[1:])
    print("\n".join(lines))
    sys.exit(bool(lines))
