"""The double-precision reference: a model's outputs as the ONNX specification defines them, free of float32 rounding.

A float32 or float16 model is turned into a float64 one, functions inlined and sparse initializers made dense, and run
by onnx.reference with the operators of operators.py.
"""

import numpy as np
from onnx import AttributeProto, TensorProto, helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

from .operators import Record, operators

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def _tensor_to_double(t):
    if t.data_type in FLOATS:
        t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), t.name))


def _dense(sparse):
    """The TensorProto of a SparseTensorProto; indices are positions in the flattened tensor, or one row per value."""
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    full = np.zeros(list(sparse.dims), values.dtype)
    full[np.unravel_index(indices, full.shape) if indices.ndim == 1 else tuple(indices.T)] = values
    return numpy_helper.from_array(full, sparse.values.name)


def make_dense(g):
    """Turn the sparse initializers of a graph into dense ones."""
    g.initializer.extend(_dense(s) for s in g.sparse_initializer)
    del g.sparse_initializer[:]


def _graph_to_double(g):
    make_dense(g)
    for t in g.initializer:
        _tensor_to_double(t)
    for v in [*g.input, *g.output, *g.value_info]:
        if v.type.tensor_type.elem_type in FLOATS:
            v.type.tensor_type.elem_type = TensorProto.DOUBLE
    for n in g.node:
        for a in n.attribute:
            if a.type == AttributeProto.GRAPH:
                _graph_to_double(a.g)
            elif a.type == AttributeProto.TENSOR:
                _tensor_to_double(a.t)
            elif a.type == AttributeProto.SPARSE_TENSOR:
                a.CopyFrom(helper.make_attribute("value", _dense(a.sparse_tensor)))
                _tensor_to_double(a.t)
            elif a.name in ("to", "dtype") and a.i in FLOATS:
                a.i = TensorProto.DOUBLE


def to_double(model):
    m = inliner.inline_local_functions(model)
    _graph_to_double(m.graph)
    return m


def _widen(a):
    return a.astype(np.float64) if a.dtype in (np.float32, np.float16) else a


def run(model, feeds, measure=(), every=False):
    """The model's outputs by name in double precision (all values if `every`), and the Record of the run."""
    record = Record(measure)
    evaluator = ReferenceEvaluator(to_double(model), new_ops=operators(record))
    with np.errstate(invalid="ignore"):  # the evaluator pads integer tensors with NaN, then overwrites it
        values = evaluator.run(None, {k: _widen(v) for k, v in feeds.items()}, intermediate=every)
    if every:
        return {k: v for k, v in values.items() if k}, record
    return dict(zip(evaluator.output_names, values)), record


def _stored_dtype(elem):
    return np.str_ if elem == TensorProto.STRING else helper.tensor_dtype_to_np_dtype(elem)


def narrow(model, outputs):
    """Outputs rounded once, to the types the model declares."""
    elem = {o.name: o.type.tensor_type.elem_type for o in model.graph.output}
    return {k: np.asarray(v).astype(_stored_dtype(elem[k])) for k, v in outputs.items()}


def _graphs(g):
    yield g
    for n in g.node:
        for a in n.attribute:
            if a.type == AttributeProto.GRAPH:
                yield from _graphs(a.g)


def batch_norms(model):
    """Every BatchNormalization of a model whose functions are inlined, subgraphs included."""
    m = inliner.inline_local_functions(model)
    return [n for g in _graphs(m.graph) for n in g.node if n.op_type == "BatchNormalization"]


def _is_placeholder(mean, var):
    return not numpy_helper.to_array(mean).any() and (numpy_helper.to_array(var) == 1).all()


def calibrate(model, draw, attempts=8):
    """Replace running statistics 0 and 1 that are initializers by what data give, layer after layer.

    draw() makes a batch of feeds; several are drawn, until each branch has been seen.
    """
    tensors = {t.name: t for g in _graphs(model.graph) for t in g.initializer}
    pairs = {n.input[3]: n.input[4] for n in batch_norms(model) if {*n.input[3:5]} <= {*tensors}}
    wanted = {mean: var for mean, var in pairs.items() if _is_placeholder(tensors[mean], tensors[var])}
    for _ in range(attempts):
        if not wanted:
            return
        for mean, moments in run(model, draw(), measure=wanted)[1].stats.items():
            for name, new in zip((mean, wanted.pop(mean)), moments):
                old = numpy_helper.to_array(tensors[name])
                tensors[name].CopyFrom(numpy_helper.from_array(new.astype(old.dtype), name))
    assert not wanted, f"never run: {sorted(wanted)}"
