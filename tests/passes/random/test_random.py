"""Random models around what the passes rewrite mean the same when optimized.

Each is optimized, every third one after raising it to a newer opset; both are valid, both are run in float64 and must agree to what rounding weights once costs; the
optimized one is run as a session runs it, too; the file does not grow. INFOLD_SEED and INFOLD_COUNT choose others."""

import concurrent.futures
import os
import pathlib
import subprocess

import graphs
import numpy as np
import onnx
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
FIRST, COUNT, LOTS = int(os.environ.get("INFOLD_SEED", 1)), int(os.environ.get("INFOLD_COUNT", 600)), 12


def infold(*args):
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"infold {args[0]}: {done.stderr.strip()[-300:]}"


def run(model, folder, *options):
    out = folder / "out.npz"
    infold("run", model, "--inputs", folder / "in.npz", "--output", out, "--threads", "1", *options)
    with np.load(out) as archive:
        return [archive[k] for k in archive.files]


def compare(before, after, tolerance):
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        assert a.shape == b.shape, f"output {i}: {a.shape} became {b.shape}"
        assert np.array_equal(np.isfinite(a), np.isfinite(b)), f"output {i}: finite elsewhere"
        a, b = (np.where(np.isfinite(v), v, 0).astype(np.float64) for v in (a, b))
        worst = np.abs(a - b).max(initial=0)
        assert worst <= tolerance * max(1, np.abs(a).max(initial=0)), f"output {i} differs by {worst:g}"


def check(seed, folder):
    model, inputs = graphs.make(seed)
    source, made = folder / "source.onnx", folder / "made.onnx"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, source)
    np.savez(folder / "in.npz", **inputs)
    raised = [] if seed % 3 else ["--raise-opset", 13 + seed // 3 % 12]
    infold("optimize", source, "-o", made, "--no-verify", *raised)
    onnx.checker.check_model(str(made), full_check=True)
    optimized = onnx.load(made)
    assert [o.name for o in optimized.graph.output] == [o.name for o in model.graph.output]
    assert raised or made.stat().st_size <= source.stat().st_size, f"{source.stat().st_size} bytes became {made.stat().st_size}"
    exact = run(source, folder, "--float64", "--no-optimize")
    compare(exact, run(made, folder, "--float64", "--no-optimize"), 1e-5)
    compare(exact, run(source, folder), 1e-3)


@pytest.mark.parametrize("lot", range(LOTS))
def test_lot(lot, tmp_path):
    def one(seed):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            check(seed, folder)
        except Exception as e:
            if "cannot be raised" in str(e):
                return None
            return f"INFOLD_SEED={seed} INFOLD_COUNT=1: {type(e).__name__}: {str(e)[:300]}"

    seeds = range(FIRST + lot, FIRST + COUNT, LOTS)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures = [f for f in pool.map(one, seeds) if f]
    assert not failures, f"{len(failures)} of {len(seeds)}:\n" + "\n".join(failures)
