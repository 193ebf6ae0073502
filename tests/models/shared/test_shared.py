"""Third parties' models, where they are at hand ($INFOLD_SHARED/models): run, optimized, and run again here and by ONNX
Runtime, whose outputs without optimizations are the reference."""

import os
import pathlib
import subprocess
import sys

import onnx
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import models

SHARED = pathlib.Path(os.environ.get("INFOLD_SHARED", models.ROOT / "../shared")).resolve()
BUILD = pathlib.Path(os.environ.get("INFOLD_BUILD", models.ROOT / "build/release"))
MADE = pathlib.Path(os.environ.get("INFOLD_SHARED_MODELS", BUILD / "shared_models"))
NAMES = sorted(p.name for p in (SHARED / "models").glob("*") if p.is_dir()) if SHARED.is_dir() else []
TOLERANCE = 1e-3

pytestmark = pytest.mark.skipif(not NAMES, reason=f"{SHARED}/models is absent")
every_model = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="session", autouse=True)
def made():
    """Weights are filled in from their seeds, once for each build folder."""
    if all((MADE / name / "done").exists() for name in NAMES):
        return
    subprocess.run([sys.executable, SHARED / "tools/materialize.py", SHARED / "models", MADE], check=True,
                   stdout=subprocess.DEVNULL)


def load(name):
    folder = MADE / name
    model = onnx.load(folder / "model.onnx")
    if (folder / "ref.npz").exists():
        return folder, model, models.arrays(folder / "ref.npz")
    return folder, model, models.run_onnxruntime(folder / "model.onnx", folder / "inputs.npz")


@every_model
def test_run(name, tmp_path):
    folder, model, expected = load(name)
    for options in [(), ("--no-optimize",)]:
        got = models.run(folder / "model.onnx", folder / "inputs.npz", tmp_path, *options)
        models.check(got, expected, model, TOLERANCE)


@every_model
def test_optimize(name, tmp_path):
    folder, model, expected = load(name)
    out = tmp_path / "out.onnx"
    models.infold("optimize", folder / "model.onnx", "-o", out)
    models.check_file(folder / "model.onnx", out)
    models.check(models.run(out, folder / "inputs.npz", tmp_path), expected, model, TOLERANCE)
    models.check(models.run_onnxruntime(out, folder / "inputs.npz"), expected, model, TOLERANCE)
    out.unlink()
