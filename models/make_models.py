#!/usr/bin/env python3
"""Make the small random-weight models beside this file, and the table in README.md.

usage: make_models.py [NAME...] [--check] [--list]        needs: numpy onnx onnxruntime

Each model becomes a folder NAME/ of model.onnx, inputs.npz and ref.npz. --check makes them in a temporary folder
instead and fails unless every file there is byte for byte the one here.
"""

import argparse
import filecmp
import os
import sys
import tempfile

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one order of summation, so that two runs agree bit for bit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from maker import CASES
from maker.table import update_readme


def differences(made, kept):
    """Files of the folder `made` that `kept` lacks or holds otherwise, and the other way round."""
    names = sorted({*os.listdir(made), *(os.listdir(kept) if os.path.isdir(kept) else [])})
    return filecmp.cmpfiles(made, kept, names, shallow=False)[1:]


def check(cases):
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        for c in cases:
            c.write(os.path.join(tmp, c.name))
            other, missing = differences(os.path.join(tmp, c.name), os.path.join(HERE, c.name))
            print(f"{c.name:<20} {'differs: ' + ' '.join(other + missing) if other or missing else 'same'}", flush=True)
            bad += bool(other or missing)
    return bad


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("names", nargs="*", metavar="NAME", help="models to make; all when none is given")
    ap.add_argument("--check", action="store_true", help="compare with the files here, write nothing")
    ap.add_argument("--list", action="store_true", help="list the models")
    args = ap.parse_args()
    unknown = [n for n in args.names if n not in CASES]
    if unknown:
        ap.error(f"no such model: {' '.join(unknown)} (see --list)")
    cases = [CASES[n] for n in args.names or CASES]
    if args.list:
        print("\n".join(f"{c.name:<20} {c.about}" for c in cases))
        return 0
    if args.check:
        return 1 if check(cases) else 0
    for c in cases:
        c.write(os.path.join(HERE, c.name))
        print("made", c.name, flush=True)
    update_readme(HERE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
