"""infold beside ONNX Runtime, on the same models, inputs and machine, in one run.

usage: bench.py [--infold COMMAND] [--rounds N] [--threads N] [--json FILE] [FOLDER…]

A folder holds model.onnx and inputs.npz; without folders, those of models/. Engines take turns, some runs each, so that
a noisy machine is noisy for all; the figure is the median of all runs. infold optimizes the file by itself as it loads;
ONNX Runtime has all its optimizations on."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
ROOT = pathlib.Path(__file__).resolve().parents[1]


class Infold:
    name = "infold"

    def __init__(self, command, folder, threads):
        words = [command, "bench", str(folder / "model.onnx"), "--inputs", str(folder / "inputs.npz"), "--threads",
                 str(threads), "--interactive"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)

    def run(self, n):
        try:
            self.process.stdin.write(f"{n}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read().strip())
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class OnnxRuntime:
    name = "onnxruntime"

    def __init__(self, folder, threads):
        import numpy as np
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        with np.load(folder / "inputs.npz") as archive:
            self.feeds = {i.name: archive[i.name] for i in self.session.get_inputs()}

    def run(self, n):
        seconds = []
        for _ in range(n):
            start = time.perf_counter()
            self.session.run(None, self.feeds)
            seconds.append(time.perf_counter() - start)
        return seconds

    def close(self):
        del self.session


def measure(engines, rounds):
    """Median seconds by engine; runs of a turn take about a twentieth of a second."""
    seconds = {e.name: [] for e in engines}
    turn = {}
    for e in engines:
        e.run(1)
        turn[e.name] = max(1, min(200, round(0.05 / max(1e-6, e.run(1)[0]))))
    for _ in range(rounds):
        for e in engines:
            seconds[e.name] += e.run(turn[e.name])
    return {name: statistics.median(s) for name, s in seconds.items()}


def compare(folder, arguments):
    engines = []
    try:
        engines.append(Infold(arguments.infold, folder, arguments.threads))
        engines.append(OnnxRuntime(folder, arguments.threads))
        return measure(engines, arguments.rounds)
    finally:
        for e in engines:
            e.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--infold", default=str(ROOT / "build/release/infold"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    folders = arguments.folders or sorted(p.parent for p in (ROOT / "models").glob("*/model.onnx"))
    rows = []
    print(f"{'model':<32}{'infold ms':>12}{'onnxruntime ms':>16}{'ratio':>8}")
    for folder in folders:
        try:
            seconds = compare(folder, arguments)
        except Exception as e:
            print(f"{folder.name:<32}{' '.join(str(e).split())[:100]}", flush=True)
            continue
        mine, theirs = seconds["infold"], seconds["onnxruntime"]
        rows.append({"model": folder.name, "infold": mine, "onnxruntime": theirs})
        print(f"{folder.name:<32}{1e3 * mine:>12.3f}{1e3 * theirs:>16.3f}{mine / theirs:>8.2f}", flush=True)
    if rows:
        ratios = [r["infold"] / r["onnxruntime"] for r in rows]
        print(f"{len(rows)} models, geometric mean of ratios {statistics.geometric_mean(ratios):.2f}, "
              f"worst {max(ratios):.2f}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"threads": arguments.threads, "models": rows}, indent=1))
    return 0 if rows else 1


sys.exit(main())
