"""Every case of ONNX's own that is known to pass does (score.py), and what is inferred of it is true (inference.py)."""

import os
import pathlib
import subprocess
import sys

from cases import write_all
from inference import judge_all

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WORK = pathlib.Path(os.environ.get("INFOLD_BUILD", ROOT / "build/release")) / "conformance"
COMMAND = os.environ.get("INFOLD", str(ROOT / "build/release/infold"))


def test_onnx_cases():
    done = subprocess.run([sys.executable, HERE / "score.py", COMMAND, "--work", WORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_inference():
    write_all(WORK / "cases")
    assert not judge_all(COMMAND, WORK / "cases")
