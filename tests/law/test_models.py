"""The first law on the repository's own models: `infold verify --bits` (threads, instruction sets, rows of a batch of four)."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
FOLDERS = sorted(p.parent for p in (ROOT / "models").glob("*/model.onnx"))
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_same_bits(folder):
    done = subprocess.run([COMMAND, "verify", "--bits", folder / "model.onnx"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same bits with 4 threads" in done.stdout
