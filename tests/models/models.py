"""Models with inputs and expected outputs, and what running them should give.

A model is a folder with model.onnx, inputs.npz (by input name) and ref.npz (by output, in order)."""

import os
import pathlib
import subprocess

import numpy as np
import onnx

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()


def infold(*args, check=True, **environment):
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, **environment})
    if check:
        assert done.returncode == 0, done.stderr.strip() or f"exit code {done.returncode}"
    return done


def arrays(path):
    """The arrays of an archive that are values, in order; keys of maps are not."""
    with np.load(path) as archive:
        return [archive[name] for name in archive.files if not name.endswith(".keys")]


def run(model, inputs, tmp, *options, **environment):
    out = tmp / "outputs.npz"
    infold("run", model, "--inputs", inputs, "--output", out, *options, **environment)
    return arrays(out)


def graphs(graph):
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in [a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs:
                yield from graphs(inner)


def is_coarse(model):
    """Computes in half precision somewhere."""
    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    return any(t.data_type in halves for g in graphs(model.graph) for t in g.initializer) or any(
        v.type.tensor_type.elem_type in halves for v in values)


def steps(model, index):
    """What two quantization steps are of a quantized model's output; 0 for others."""
    producers = {o: n for n in model.graph.node for o in n.output}
    constants = {t.name: t for t in model.graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in model.graph.node
                  if n.op_type == "Constant" and n.attribute[0].name == "value"}
    output = model.graph.output[index]
    if output.type.tensor_type.elem_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8):
        return 2
    node = producers.get(output.name)
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in constants:
        return 0
    return 2 * float(onnx.numpy_helper.to_array(constants[node.input[1]]).max())


def difference(got, want, tolerance, slack):
    """What is wrong with an output, or ""."""
    if got.shape != want.shape:
        return f"shape {got.shape} for {want.shape}"
    if want.dtype.kind in "SUO":
        return "" if (got.astype(str) == want.astype(str)).all() else "texts differ"
    if got.dtype != want.dtype:
        return f"{got.dtype} for {want.dtype}"
    if not want.size:
        return ""
    a, b = got.astype(np.float64), want.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return "NaN elsewhere"
    scale = np.abs(np.nan_to_num(b)).max()
    worst = np.abs(np.nan_to_num(a) - np.nan_to_num(b)).max()
    rounding = scale * 2 ** -23 if want.dtype == np.float32 else 0  # of two multiples of a step, each to a float
    allowed = max(tolerance * scale if want.dtype.kind == "f" else 0, slack * (1 + 1e-6) + (rounding if slack else 0))
    return "" if worst <= allowed else f"off by {worst:.3g} where {allowed:.3g} is allowed"


def check(got, expected, model, tolerance):
    assert len(got) == len(expected), f"{len(got)} outputs for {len(expected)}"
    wrong = [f"output {i}: {d}" for i, (g, w) in enumerate(zip(got, expected))
             for d in [difference(g, w, tolerance, steps(model, i))] if d]
    assert not wrong, "; ".join(wrong)


def run_onnxruntime(path, inputs):
    """Without its optimizations: what the file says, as another runtime reads it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with np.load(inputs) as archive:
        feeds = {i.name: archive[i.name] for i in session.get_inputs()}
    return [tabulated(o) for o in session.run(None, feeds)]


def tabulated(value):
    """A list of maps as a matrix, columns by sorted key."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([[row[k] for k in sorted(row)] for row in value], np.float32)
    return value


def bytes_of(path):
    """A model with its external data."""
    model = onnx.load(path, load_external_data=False)
    tensors = [t for g in graphs(model.graph) for t in g.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    files = {e.value for t in tensors for e in t.external_data if e.key == "location"}
    return sum(p.stat().st_size for p in [path, *(path.parent / f for f in files)])


def fed(model):
    """Inputs that a caller gives; files of IR 3 list initializers as inputs."""
    fixed = {t.name for t in model.graph.initializer} if model.ir_version < 4 else set()
    return [i.name for i in model.graph.input if i.name not in fixed]


def check_file(before, after):
    """The optimized file is a valid model, of the same interface, and no larger."""
    a, b = (onnx.load(p, load_external_data=False) for p in (before, after))
    assert fed(a) == fed(b)
    assert [o.name for o in a.graph.output] == [o.name for o in b.graph.output]
    assert bytes_of(after) <= bytes_of(before), f"{bytes_of(before)} bytes became {bytes_of(after)}"
    try:
        onnx.checker.check_model(str(before), full_check=True)
    except Exception:
        return  # the source itself does not pass
    onnx.checker.check_model(str(after), full_check=True)
