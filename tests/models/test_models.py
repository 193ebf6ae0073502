"""The repository's own models: run, optimized, and run again here and by ONNX Runtime."""

import json

import models
import numpy as np
import onnx
import pytest

FOLDERS = sorted(p.parent for p in (models.ROOT / "models").glob("*/model.onnx"))
every_model = pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)


def load(folder):
    return onnx.load(folder / "model.onnx"), models.arrays(folder / "ref.npz")


def tolerance_for(model):
    return 4e-3 if models.is_coarse(model) else 5e-5


@every_model
@pytest.mark.parametrize("options", [(), ("--no-optimize",), ("--backend", "ref")], ids=["auto", "as-is", "ref"])
def test_run(folder, options, tmp_path):
    model, expected = load(folder)
    models.check(models.run(folder / "model.onnx", folder / "inputs.npz", tmp_path, *options), expected, model,
                 tolerance_for(model))


@every_model
def test_optimize(folder, tmp_path):
    model, expected = load(folder)
    out = tmp_path / "out.onnx"
    models.infold("optimize", folder / "model.onnx", "-o", out)
    models.check_file(folder / "model.onnx", out)
    models.check(models.run(out, folder / "inputs.npz", tmp_path), expected, model, tolerance_for(model))


@every_model
def test_onnxruntime_reads_it(folder, tmp_path):
    """ONNX Runtime gives for the optimized file what it gives for the source, where it runs that."""
    model, _ = load(folder)
    out = tmp_path / "out.onnx"
    try:
        expected = models.run_onnxruntime(folder / "model.onnx", folder / "inputs.npz")
    except Exception as e:
        pytest.skip(f"ONNX Runtime does not run the source: {str(e)[:80]}")
    models.infold("optimize", folder / "model.onnx", "-o", out)
    models.check(models.run_onnxruntime(out, folder / "inputs.npz"), expected, model, tolerance_for(model))


# ---- same bits ----


def facts(folder):
    return json.loads(models.infold("inspect", folder / "model.onnx", "--json").stdout)


def batched(found):
    """Every input and output begins with one free dimension, and no operator mixes samples by definition."""
    firsts = {(v["shape"] or [None])[0] for v in found["inputs"] + found["outputs"]}
    mixes = any(n["mixes_batch"] for n in found["normalization"]) or any(
        o["operator"] == "DynamicQuantizeLinear" for o in found["operators"])
    return len(firsts) == 1 and isinstance(next(iter(firsts)), str) and not mixes


def equal_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@every_model
def test_same_bits_for_threads_and_cpus(folder, tmp_path):
    model, inputs = folder / "model.onnx", folder / "inputs.npz"
    first = models.run(model, inputs, tmp_path, "--threads", "1")
    for threads, cpu in [(2, ""), (3, ""), (1, "avx2"), (1, "avx512"), (2, "avx2")]:
        again = models.run(model, inputs, tmp_path, "--threads", threads, INFOLD_CPU=cpu)
        assert all(map(equal_bits, first, again)), f"{threads} threads, {cpu or 'this CPU'}"


@every_model
def test_same_bits_for_any_batch(folder, tmp_path):
    if not batched(facts(folder)):
        pytest.skip("samples are not independent")
    model = folder / "model.onnx"
    with np.load(folder / "inputs.npz") as archive:
        feeds = {name: archive[name] for name in archive.files}
    together = models.run(model, folder / "inputs.npz", tmp_path)
    for i in range(len(next(iter(feeds.values())))):
        np.savez(tmp_path / "one.npz", **{name: a[i:i + 1] for name, a in feeds.items()})
        alone = models.run(model, tmp_path / "one.npz", tmp_path)
        assert all(equal_bits(t[i:i + 1], a) for t, a in zip(together, alone)), f"sample {i}"


# ---- digits ----


def test_digits(tmp_path):
    """The trained classifier reads held-out digits, before and after."""
    model, test = models.ROOT / "models/digits.onnx", models.ROOT / "models/digits_test.npz"
    with np.load(test) as archive:
        labels, logits = archive["label"], archive["logits"]
    models.infold("optimize", model, "-o", tmp_path / "small.onnx")
    for path in (model, tmp_path / "small.onnx"):
        out = tmp_path / "out.npz"
        models.infold("run", path, "--input", f"image={test}", "--output", out)
        got = models.arrays(out)[0]
        assert np.abs(got - logits).max() <= 5e-5 * np.abs(logits).max()
        assert (got.argmax(1) == labels).mean() >= 0.98
