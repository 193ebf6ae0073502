"""The Python package on models: optimizing, verifying, the doctor, recalibrating, parts and edits. What the library finds is
tested elsewhere; here, that options arrive, results come back, and errors keep their status."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
sys.path.insert(0, str(ROOT / "tests/bn"))
import bn  # noqa: E402
import infold  # noqa: E402

MODELS = ROOT / "models"
DIGITS = MODELS / "digits.onnx"


def inputs_of(name):
    with np.load(MODELS / name / "inputs.npz") as archive:
        return dict(archive)


def op_types(data):
    return [n.op_type for n in onnx.load_from_string(data).graph.node]


def refused(status, words):
    return pytest.raises(infold.Error, match=words, check=lambda e: e.status == status)


# ---- optimizing ----


def test_optimize():
    path = MODELS / "bn_edges/model.onnx"
    feeds = inputs_of("bn_edges")
    ops = lambda data: op_types(data).count("BatchNormalization")
    before = path.read_bytes()
    optimized = infold.optimize(path)
    onnx.checker.check_model(onnx.load_from_string(optimized), full_check=True)
    assert ops(optimized) < ops(before) == ops(infold.optimize(before, keep_bn=True))
    assert ops(infold.optimize(before, only=["fold_constants"])) == ops(before)
    assert ops(infold.optimize(before, skip=["fuse_bn"])) > ops(optimized)
    for a, b in zip(infold.Session(path).run(None, feeds), infold.Session(optimized).run(None, feeds)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    with refused("USAGE", "fuse_everything"):
        infold.optimize(path, only=["fuse_everything"])


def test_optimize_writes_what_the_command_writes(tmp_path):
    path = MODELS / "residual_net/model.onnx"
    for options, words in ((dict(verify=True), []), (dict(no_provenance=True), ["--no-provenance"]),
                           (dict(max_rewrites=2), ["--max-rewrites", 2]), (dict(max_rewrites=0), ["--max-rewrites", 0]),
                           (dict(batch=3), ["--batch", 3]), (dict(fix_dims={"N": 2}), ["--fix-dim", "N=2"]),
                           (dict(shapes={"image": [5, 3, 32, 32]}), ["--shape", "image=5,3,32,32"])):
        bn.infold("optimize", path, "-o", tmp_path / "out.onnx", *words)
        assert infold.optimize(path, **options) == (tmp_path / "out.onnx").read_bytes(), options


def test_weights_of_external_data_come_inside(tmp_path):
    model = onnx.load(DIGITS)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    inside = infold.optimize(tmp_path / "model.onnx")
    assert not any(t.external_data for t in onnx.load_from_string(inside).graph.initializer)
    assert infold.optimize((tmp_path / "model.onnx").read_bytes(), folder=tmp_path) == inside
    with pytest.raises(infold.Error):
        infold.optimize((tmp_path / "model.onnx").read_bytes())


def test_names_come_in_lists():
    for call in (lambda: infold.optimize(DIGITS, only="fuse_bn"), lambda: infold.optimize(DIGITS, skip="fuse_bn"),
                 lambda: infold.extract(DIGITS, outputs="logits"), lambda: infold.edit(DIGITS, add_outputs="logits")):
        with pytest.raises(TypeError, match="a list of names is needed, not str"):
            call()


def test_texts_are_texts():
    for call in (lambda: infold.inspect(DIGITS, None), lambda: infold.edit(DIGITS, rename={"image": None}),
                 lambda: infold.extract(DIGITS, outputs=[None])):
        with pytest.raises(TypeError, match="a text is needed, not NoneType"):
            call()


# ---- verifying ----


def test_verify(tmp_path):
    path, feeds = MODELS / "residual_net/model.onnx", inputs_of("residual_net")
    optimized = infold.optimize(path)
    assert "2 runs of each" in infold.verify(path, optimized)
    assert "3 runs of each" in infold.verify(path, optimized, batches=[1, 2, 5])
    np.savez(tmp_path / "in.npz", **feeds)
    given = [infold.verify(path, optimized, inputs=inputs) for inputs in (feeds, tmp_path / "in.npz")]
    assert given[0] == given[1] and "1 run of each" in given[0]
    with refused("DIFFERS", "output 'logits"):
        infold.verify(path, bent(path))
    with refused("IO", "none.npz"):
        infold.verify(path, optimized, inputs=tmp_path / "none.npz")


def bent(path):
    """The same model with other weights."""
    model = onnx.load(path)
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights * 1.01, model.graph.initializer[0].name))
    return model.SerializeToString()


def test_verify_a_certificate(tmp_path):
    original, optimized = tmp_path / "model.onnx", tmp_path / "out.onnx"
    original.write_bytes(DIGITS.read_bytes())
    bn.infold("optimize", original, "-o", optimized, "--certificate", tmp_path / "c.json")
    assert "came out again" in infold.verify_certificate(tmp_path / "c.json")
    assert "came out again" in infold.verify_certificate(tmp_path / "c.json", original, optimized, threads=1)
    optimized.write_bytes(optimized.read_bytes() + b"\0")
    with pytest.raises(infold.Error):
        infold.verify_certificate(tmp_path / "c.json")


# ---- BatchNormalization ----


def test_doctor():
    path = MODELS / "bn_training/model.onnx"
    found = infold.doctor(path)
    assert found == json.loads(bn.infold("doctor", path, "--json", check=False).stdout)
    assert {f["rule"] for f in found["findings"]} >= {"training-mode", "training-graph"}
    assert infold.doctor(path, sarif=True)["version"] == "2.1.0"
    assert len(infold.doctor(DIGITS.read_bytes())["batch_normalizations"]) == 5


def test_recalibrate(tmp_path):
    with np.load(MODELS / "digits_test.npz") as archive:
        x = archive[archive.files[0]] * 0.25
    name = onnx.load(DIGITS).graph.input[0].name
    np.savez(tmp_path / "data.npz", **{name: x})
    measured = infold.recalibrate(DIGITS, {name: x}, batch=50)
    assert measured == infold.recalibrate(DIGITS, tmp_path / "data.npz", batch=50)
    bn.infold("recalibrate", DIGITS, "--data", tmp_path / "data.npz", "--batch", 50, "-o", tmp_path / "out.onnx")
    assert measured.model == (tmp_path / "out.onnx").read_bytes()
    assert len(measured.report["layers"]) == 5
    others = [dict(momentum="average"), dict(momentum=0.5), dict(sample_variance=True)]
    assert len({infold.recalibrate(DIGITS, {name: x}, **o).model for o in others} | {measured.model}) == 4
    with refused("UNSUPPORTED", "fold"):
        infold.recalibrate(infold.optimize(DIGITS), {name: x})
    with refused("BAD_INPUT", f"^array '{name}' has 0 samples"):  # not of which file the arrays were for a moment
        infold.recalibrate(DIGITS, {name: x[:0]})
    with pytest.raises(ValueError, match="not 'avg'"):
        infold.recalibrate(DIGITS, {name: x}, momentum="avg")


# ---- parts and edits ----


def test_extract():
    model = onnx.load(DIGITS)
    inner = model.graph.node[0].output[0]
    part = infold.extract(DIGITS, outputs=[inner])
    assert op_types(part) == [model.graph.node[0].op_type]
    rest = onnx.load_from_string(infold.extract(DIGITS, inputs=[inner]))
    assert rest.graph.input[0].name == inner and len(rest.graph.node) == len(model.graph.node) - 1
    with refused("USAGE", "no value 'nothing of this name'"):
        infold.extract(DIGITS, outputs=["nothing of this name"])


def test_edit():
    model = onnx.load(DIGITS)
    name, inner = model.graph.input[0].name, model.graph.node[0].output[0]
    edited = infold.edit(DIGITS, add_outputs=[inner], rename={name: "żółw", inner: "inner"}, batch=4)
    graph = onnx.load_from_string(edited.model).graph
    assert graph.input[0].name == "żółw" and graph.output[-1].name == "inner"
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    assert isinstance(edited.notes, list)
    again = infold.edit(edited.model, remove_outputs=["inner"], batch="N")
    graph = onnx.load_from_string(again.model).graph
    assert len(graph.output) == len(model.graph.output) and graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    with pytest.raises(infold.Error):
        infold.edit(DIGITS, rename={"nothing of this name": "x"})


def test_inspect():
    for what in ("summary", "norms", "text", "dot"):
        words = [] if what == "summary" else [f"--{what}"]
        assert infold.inspect(DIGITS, what) == bn.infold("inspect", *words, DIGITS).stdout
    assert json.loads(infold.inspect(DIGITS, "json"))
    with refused("USAGE", "everything"):
        infold.inspect(DIGITS, "everything")


# ---- the README ----


def test_the_example_of_the_readme():
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.S).groups()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown
