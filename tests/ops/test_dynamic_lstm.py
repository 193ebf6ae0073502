"""com.microsoft.DynamicQuantizeLSTM, which ONNX Runtime's dynamic quantizer writes: against a statement in NumPy, and
against ONNX Runtime where that is installed (one thread: its threads quantize their sequences apart)."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nodes as lib
from nodes import Nodes

RNG = np.random.default_rng(29)
F32 = np.float32


def snap(x, over):
    """x as DynamicQuantizeLinear leaves it, whose range is that of `over`."""
    low, high = min(F32(0), over.min(initial=0)), max(F32(0), over.max(initial=0))
    scale = F32(1 if high == low else high - low) / F32(255)
    zero = np.rint(np.clip(-low / scale, 0, 255))
    return ((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale).astype(F32)


def sigmoid(v):
    return 1 / (1 + np.exp(-v.astype(np.float64)))


def real(q, scale, zero):
    """Weights [directions, columns, rows], quantized for each direction or each row."""
    scale, zero = (p.reshape(q.shape[0], 1, -1).astype(np.float64) for p in (scale, zero))
    return (q - zero) * scale


def lstm(x, w, r, b, lengths, h0, c0, reverses):
    steps, batch, hidden = *x.shape[:2], r.shape[1]
    y = np.zeros((steps, len(reverses), batch, hidden))
    x = snap(x, x[:lengths.max()])
    ends = []
    for d, reverse in enumerate(reverses):
        h, c = h0[d].astype(np.float64), c0[d].astype(np.float64)
        for i in range(lengths.max()):
            over = h[i <= lengths].astype(F32)
            runs = np.flatnonzero(i < lengths)
            t = lengths[runs] - 1 - i if reverse else np.full(len(runs), i)
            p = x[t, runs] @ w[d] + snap(h[runs].astype(F32), over) @ r[d] + b[d].reshape(2, -1).sum(0)
            gate_i, gate_o, gate_f, gate_c = np.split(p, 4, 1)
            c[runs] = sigmoid(gate_f) * c[runs] + sigmoid(gate_i) * np.tanh(gate_c)
            h[runs] = sigmoid(gate_o) * np.tanh(c[runs])
            y[t, d, runs] = h[runs]
        ends.append((h, c))
    return [v.astype(F32) for v in (y, np.stack([e[0] for e in ends]), np.stack([e[1] for e in ends]))]


def draw(direction, per_row, dtype, lengths_given, batch=None, bits=8):
    steps, some, inputs, hidden = (int(v) for v in RNG.integers(1, 9, 4))
    batch = batch or some
    n = 2 if direction == "bidirectional" else 1
    info, per = np.iinfo(dtype), (n, 4 * hidden) if per_row else (n,)
    beyond = 2**7 - 2**(bits - 1)
    q = [RNG.integers(info.min + beyond, info.max + 1 - beyond, (n, k, 4 * hidden)).astype(dtype) for k in (inputs, hidden)]
    scales = [RNG.uniform(.002, .02, per).astype(F32) for _ in q]
    zero = np.zeros(per, dtype) if dtype == np.int8 else np.full(per, 131, dtype)
    lengths = RNG.integers(1, steps + 1, batch).astype(np.int32) if lengths_given else None
    x, b = RNG.normal(size=(steps, batch, inputs)).astype(F32), RNG.normal(size=(n, 8 * hidden)).astype(F32)
    h0, c0 = (RNG.normal(size=(n, batch, hidden)).astype(F32) for _ in range(2))
    given = [x, *q, b, lengths, h0, c0, None, scales[0], zero, scales[1], zero]
    w, r = (real(v, s, zero) for v, s in zip(q, scales))
    full = np.full(batch, steps) if lengths is None else lengths
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    return given, lstm(x, w, r, b, full, h0, c0, reverses), dict(direction=direction, hidden_size=hidden)


CASES = list(itertools.product(("forward", "reverse", "bidirectional"), (False, True), (np.int8, np.uint8), (False, True)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layers(case):
    nodes = Nodes(1, "com.microsoft")
    for _ in range(4):
        given, expected, attrs = draw(*case)
        nodes.add("DynamicQuantizeLSTM", given, expected, **attrs)
    for options in ((), lib.REFERENCE, ("--no-optimize", "--threads", "3")):
        nodes.check(atol=2e-5, options=options)


def with_constants(nodes, kept):
    """The model of one node whose inputs but the first and those kept are initializers."""
    model = nodes.model()
    arrays = dict(nodes.inputs)
    constant = [n for n, _ in nodes.inputs[1:] if n not in kept]
    model.graph.initializer.extend(numpy_helper.from_array(arrays[n], n) for n in constant)
    for info in [i for i in model.graph.input if i.name in constant]:
        model.graph.input.remove(info)
    nodes.inputs = [(n, a) for n, a in nodes.inputs if n not in constant]
    nodes.model = lambda: model
    return nodes


@pytest.mark.parametrize("case", [c for c in CASES if not c[3]], ids=str)
def test_on_kernels(case, tmp_path):
    """Constant weights run by the kernels of LSTM, batches of up to 16 by steps: they and larger ones alike."""
    for batch in (None, 16, 17):
        given, expected, attrs = draw(*case, batch=batch)
        nodes = with_constants(Nodes(1, "com.microsoft").add("DynamicQuantizeLSTM", given, expected, **attrs), ("i0_5", "i0_6"))
        for options in ((), ("--threads", "3")):
            nodes.check(atol=2e-5, options=options)
        operators, kernels = zip(*profiled(nodes, tmp_path))
        assert "LSTM" in operators and "DynamicQuantizeLSTM" not in operators
        assert any("steps" in k for k in kernels) == (given[0].shape[1] <= 16)


def profiled(nodes, folder):
    onnx.save(nodes.model(), folder / "m.onnx")
    np.savez(folder / "i.npz", **dict(nodes.inputs))
    return lib.profile(folder / "m.onnx", "--inputs", folder / "i.npz")


def test_as_onnx_runtime_has_it():
    """Weights of 7 bits: where a processor has no VNNI, ONNX Runtime's sums of two products saturate with those of 8."""
    ort = pytest.importorskip("onnxruntime")
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    for case in CASES:
        if not case[1] and case[2] == np.uint8:
            continue
        nodes = Nodes(1, "com.microsoft")
        given, expected, attrs = draw(*case, bits=7)
        nodes.add("DynamicQuantizeLSTM", given, expected, **attrs)
        model = nodes.model()
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for got, theirs in zip(nodes.run(), session.run(None, dict(nodes.inputs))):
            np.testing.assert_allclose(got, theirs, atol=5e-4, rtol=0)


def test_wrong_shapes_are_refused():
    given, expected, attrs = draw("bidirectional", True, np.int8, True)
    for at, wrong in ((1, given[1][:1]), (2, given[2][:, :, :-1]), (8, given[8][:, :1]), (9, given[9][:1]), (4, given[4] + 99),
                      (1, given[1][0]), (1, given[0]), (8, None), (0, given[1])):
        nodes = Nodes(1, "com.microsoft")
        nodes.add("DynamicQuantizeLSTM", [wrong if i == at else v for i, v in enumerate(given)], expected, **attrs)
        lib.refuses(nodes, "DynamicQuantizeLSTM")
    nodes = Nodes(1, "com.microsoft").add("DynamicQuantizeLSTM", given[:2], expected, **attrs)
    lib.refuses(nodes, "DynamicQuantizeLSTM")
