"""ONNX's own test cases against the cases that are known to pass (passing.txt): none of them may fail.

usage: score.py INFOLD [--work DIR] [--filter RE] [--list] [--update]

Each runs as `infold run MODEL --inputs FOLDER --output-dir FOLDER`. Floats are compared as ONNX's runner does, all else
exactly. --list shows what does not pass. --update adds what passes now to the list; nothing is ever taken from it."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

from cases import write_all

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PASSING = HERE / "passing.txt"
SECONDS = 60
# What these expect was drawn from NumPy's generator after it had drawn their inputs: they pass but by chance.
DRAWN = re.compile(r"/test_bernoulli")
READERS = {"tensor_type": (onnx.TensorProto, numpy_helper.to_array), "sequence_type": (onnx.SequenceProto, numpy_helper.to_list),
           "optional_type": (onnx.OptionalProto, numpy_helper.to_optional), "map_type": (onnx.MapProto, numpy_helper.to_dict)}


def read(path, type):
    proto, convert = READERS[type.WhichOneof("value")]
    return convert(proto.FromString(path.read_bytes()))


def compare(got, expected, rtol, atol):
    """AssertionError where they differ; bfloat16 may by two units in the last place."""
    if isinstance(expected, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(expected), f"{got} is no sequence of {len(expected)}"
        for g, e in zip(got, expected):
            compare(g, e, rtol, atol)
    elif expected is None or isinstance(expected, dict):
        np.testing.assert_equal(got, expected)
    else:
        assert got.dtype == expected.dtype and got.shape == expected.shape, \
            f"{got.dtype}{list(got.shape)} is not {expected.dtype}{list(expected.shape)}"
        name = expected.dtype.name
        if "float" not in name and "complex" not in name:
            np.testing.assert_array_equal(got, expected)
            return
        if expected.dtype.kind not in "fc":  # ml_dtypes'
            got, expected = got.astype(np.float32), expected.astype(np.float32)
        np.testing.assert_allclose(got, expected, max(rtol, 2**-6) if name == "bfloat16" else rtol, atol)


def run(infold, case, data, to):
    """Why it does not pass, or None."""
    done = subprocess.run([infold, "run", case / "model.onnx", "--inputs", data, "--output-dir", to], capture_output=True,
                          text=True, errors="replace", timeout=SECONDS)
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr}"
    outputs = onnx.load(case / "model.onnx", load_external_data=False).graph.output
    tolerance = json.loads((case / "data.json").read_text())
    expected = sorted(p.name for p in data.glob("output_*.pb"))
    if sorted(os.listdir(to)) != expected:
        return f"it wrote {sorted(os.listdir(to))}, not {expected}"
    for i in range(len(expected)):
        name = f"output_{i}.pb"
        try:
            compare(read(pathlib.Path(to) / name, outputs[i].type), read(data / name, outputs[i].type), **tolerance)
        except AssertionError as error:
            return f"{name}: {error}"
    return None


def failure(infold, case):
    try:
        for data in sorted(case.glob("test_data_set_*")):
            with tempfile.TemporaryDirectory() as to:
                why = run(infold, case, data, to)
            if why:
                return " ".join(why.split())[:200]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("infold")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/conformance")
    parser.add_argument("--filter", type=re.compile, default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    write_all(arguments.work / "cases")
    folders = {f"{p.parent.parent.name}/{p.parent.name}": p.parent for p in (arguments.work / "cases").glob("*/*/model.onnx")}
    names = sorted(n for n in folders if re.search(arguments.filter, n))
    infold = pathlib.Path(arguments.infold).resolve()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = {n: why for n, why in zip(names, pool.map(lambda n: failure(infold, folders[n]), names)) if why}
    known = PASSING.read_text().split()
    passing = {n for n in names if n not in failures and not DRAWN.search(n)}
    lost = [n for n in known if n in failures]
    print(f"{len(passing)} pass, {len(known)} are known to, {len(passing - set(known))} are new, {len(lost)} are lost")
    for name in sorted(failures) if arguments.list else lost:
        print(f"{'LOST' if name in lost else 'fails'} {name}: {failures[name]}")
    if arguments.update:
        PASSING.write_text("".join(f"{name}\n" for name in sorted(passing | set(known))))
    return 1 if lost else 0


sys.exit(main())
