"""Malformed models and inputs are answered by a result or one clear error: never a crash, a hang, a file left behind."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
SHARED = pathlib.Path(os.environ.get("INFOLD_SHARED", ROOT / "../shared")).resolve()
BUILD = pathlib.Path(os.environ.get("INFOLD_BUILD", ROOT / "build/release"))


@pytest.mark.skipif(not (SHARED / "tools/bad").is_dir(), reason=f"{SHARED}/tools/bad is absent")
def test_malformed_input():
    cases = BUILD / "bad"
    if not (cases / "manifest.json").exists():
        subprocess.run([sys.executable, SHARED / "tools/bad/gen_bad.py", cases], check=True, stdout=subprocess.DEVNULL)
    sanitized = ["--no-as-limit"] if os.environ.get("INFOLD_SANITIZE") else []
    done = subprocess.run([sys.executable, SHARED / "tools/bad/run_bad.py", cases, "--bin", COMMAND, "--list",
                           "--jobs", str(os.cpu_count()), *sanitized], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
