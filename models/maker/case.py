"""From a maker function to a model folder: calibration, inputs, reference outputs, checks, files.

A maker is a function of an empty Graph that fills it and returns `feeds(rng, n)`: a batch of about n samples, an array
per graph input. It is registered by @case, whose words become the model's doc_string and its line in README.md.
"""

import os
import zlib

import numpy as np
import onnx
import onnxruntime

from . import reference
from .graph import Graph

CASES = {}
TIE_MARGIN = 2e-4  # steps; float32 kernels differ from the exact value by less, so all round alike


class Case:
    """One model to make. `ort`: whether ONNX Runtime has all the operators. `rtol`: the error of its results that is
    allowed, relative to the largest value of an output. `n_calibrate`, `n_test`: batch sizes handed to feeds. `external`:
    initializers of at least that many bytes go to model.onnx.data (0: none)."""

    def __init__(
        self, build, about, opset=17, ir=8, domains=None, ort=True, rtol=2e-5, n_calibrate=16, n_test=2, external=0
    ):
        self.build, self.name, self.about = build, build.__name__, about
        self.opsets, self.ir = {"": opset, **(domains or {})}, ir
        self.ort, self.rtol, self.external = ort, rtol, external
        self.n_calibrate, self.n_test = n_calibrate, n_test

    def rng(self, purpose):
        return np.random.default_rng(zlib.crc32(f"{self.name}/{purpose}".encode()))

    def make(self):
        """The model, its inputs and its reference outputs."""
        graph = Graph(self.rng("weights"))
        feeds = self.build(graph)
        model = graph.model(self.name, self.about, self.opsets, self.ir)
        draws = self.rng("calibration")
        reference.calibrate(model, lambda: feeds(draws, self.n_calibrate))
        inputs, outputs = self.choose_inputs(model, feeds)
        return model, inputs, reference.narrow(model, outputs)

    def choose_inputs(self, model, feeds):
        """The first draw in which no quantized value lies near a rounding tie."""
        rng = self.rng("inputs")
        for _ in range(200):
            inputs = feeds(rng, self.n_test)
            outputs, record = reference.run(model, inputs)
            if record.margin > TIE_MARGIN:
                return inputs, outputs
        raise AssertionError(f"{self.name}: every draw has a value near a tie")

    def check(self, path, inputs, outputs):
        _check_format(path)
        if not self.ort:
            return
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        got = session.run(list(outputs), {k: _for_ort(v) for k, v in inputs.items()})
        for (name, want), value in zip(outputs.items(), got):
            _assert_same(f"{self.name} {name}", value, want, self.rtol)

    def write(self, folder):
        """Make the model and write its files to `folder`, checked."""
        model, inputs, outputs = self.make()
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "model.onnx")
        if self.external:
            _externalize(model, f"{path}.data", self.external)
        with open(path, "wb") as f:
            f.write(model.SerializeToString(deterministic=True))
        np.savez(os.path.join(folder, "inputs.npz"), **inputs)
        np.savez(os.path.join(folder, "ref.npz"), **outputs)
        self.check(path, inputs, outputs)


def case(about, **settings):
    def register(build):
        CASES[build.__name__] = Case(build, about, **settings)
        return build

    return register


def _check_format(path):
    """onnx.checker in full. Its shape inference refuses any operator on a sparse initializer, which the specification
    allows; such a file is checked without it as it is, and with it in its dense form."""
    model = onnx.load(path, load_external_data=False)
    sparse = len(model.graph.sparse_initializer) > 0
    onnx.checker.check_model(path, full_check=not sparse)
    if sparse:
        reference.make_dense(model.graph)
        onnx.checker.check_model(model, full_check=True)


def _for_ort(a):
    return a.astype(object) if a.dtype.kind == "U" else a


def _assert_same(what, got, want, rtol):
    assert got.shape == want.shape, f"{what}: {got.shape} for {want.shape}"
    assert got.dtype == (object if want.dtype.kind == "U" else want.dtype), f"{what}: {got.dtype} for {want.dtype}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, _for_ort(want), err_msg=what)
        return
    atol = rtol * max(np.abs(want).max(initial=0), 1e-3)
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=0, atol=atol, err_msg=what)


def _externalize(model, path, threshold):
    """Move the bytes of big initializers to `path`, each at a multiple of 64."""
    blob = bytearray()
    for t in model.graph.initializer:
        if len(t.raw_data) < threshold:
            continue
        blob.extend(bytes(-len(blob) % 64))
        where = {"location": os.path.basename(path), "offset": len(blob), "length": len(t.raw_data)}
        blob.extend(t.raw_data)
        t.ClearField("raw_data")
        t.data_location = onnx.TensorProto.EXTERNAL
        for k, v in where.items():
            t.external_data.add(key=k, value=str(v))
    with open(path, "wb") as f:
        f.write(blob)
