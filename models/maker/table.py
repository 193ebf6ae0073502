"""The table of models in README.md, read off the files themselves."""

import os

import onnx
from onnx import AttributeProto, TensorProto

from .case import CASES

BEGIN, END = "<!-- models -->", "<!-- end of models -->"


def _nodes(nodes):
    for n in nodes:
        yield n
        for a in n.attribute:
            if a.type == AttributeProto.GRAPH:
                yield from _nodes(a.g.node)


def _dims(shape):
    return ",".join(d.dim_param or str(d.dim_value) for d in shape.dim)


def _signature(model):
    """The inputs that must be fed: name elem[dims]."""
    given = {t.name for t in model.graph.initializer}
    kinds = [(v.name, v.type.tensor_type) for v in model.graph.input if v.name not in given]
    return ", ".join(f"`{n}` {TensorProto.DataType.Name(t.elem_type).lower()}[{_dims(t.shape)}]" for n, t in kinds)


def _row(name, about, path, rtol):
    model = onnx.load(path, load_external_data=False)
    nodes = list(_nodes(model.graph.node)) + [n for f in model.functions for n in _nodes(f.node)]
    n_nodes = sum(n.op_type != "Constant" for n in nodes)
    n_bn = sum(n.op_type == "BatchNormalization" for n in nodes)
    size = sum(os.path.getsize(p) for p in (path, f"{path}.data") if os.path.exists(p))
    opset = max(o.version for o in model.opset_import if not o.domain)
    return f"| `{name}` | {about} | {_signature(model)} | {opset} | {n_nodes} | {n_bn} | {size} | {rtol:g} |"


def update_readme(root):
    """Rewrite what stands between the two marks."""
    about = "Trained classifier of handwritten digits: Conv-BatchNormalization-Relu, a residual Add, a depthwise Conv"
    rows = [
        "| model | what it is for | inputs | opset | nodes | BN | bytes | rtol |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows.append(_row("digits.onnx", about, os.path.join(root, "digits.onnx"), 2e-5))
    made = [(c, os.path.join(root, c.name, "model.onnx")) for c in CASES.values()]
    rows += [_row(c.name, c.about, path, c.rtol) for c, path in made if os.path.exists(path)]
    path = os.path.join(root, "README.md")
    with open(path, encoding="utf-8") as f:
        head, rest = f.read().split(BEGIN)
    tail = rest.split(END)[1]
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + BEGIN + "\n" + "\n".join(rows) + "\n" + END + tail)
