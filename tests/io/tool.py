"""Finds and runs the test programs (tests/tools) in the build folder that INFOLD_BUILD names, or in the newest one."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find(name):
    builds = [pathlib.Path(os.environ["INFOLD_BUILD"])] if "INFOLD_BUILD" in os.environ else (ROOT / "build").glob("*")
    tools = [p for b in builds for p in [b / "tests" / f"test_{name}_tool"] if p.exists()]
    if not tools:
        pytest.skip(f"test_{name}_tool is not built")
    return max(tools, key=lambda p: p.stat().st_mtime)


def answers(name, jobs):
    """One line for each job, a tuple of words (None is left out)."""
    lines = ["\t".join(str(x) for x in job if x is not None) for job in jobs]
    done = subprocess.run([find(name)], input="\n".join(lines) + "\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()
