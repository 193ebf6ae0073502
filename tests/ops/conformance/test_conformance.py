"""Every case of ONNX's own that is known to pass does; see score.py."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SHARED = pathlib.Path(os.environ.get("INFOLD_SHARED", ROOT / "../shared")).resolve()


@pytest.mark.skipif(not (SHARED / "tools/conformance").is_dir(), reason=f"{SHARED}/tools/conformance is absent")
def test_onnx_cases():
    work = pathlib.Path(os.environ.get("INFOLD_BUILD", ROOT / "build/release")) / "conformance"
    infold = os.environ.get("INFOLD", ROOT / "build/release/infold")
    done = subprocess.run([sys.executable, HERE / "score.py", infold, "--work", work], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
