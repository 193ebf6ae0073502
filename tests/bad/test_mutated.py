"""Mutated models are answered like malformed ones; `./dev fuzz` makes more of them."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()


def test_mutated_models(tmp_path):
    done = subprocess.run([sys.executable, "-W", "ignore", ROOT / "fuzz/mutate.py", "--bin", COMMAND, "--models", "150",
                           "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
