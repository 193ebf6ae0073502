"""infold beside ONNX Runtime and OpenVINO, on the same models, inputs and machine, in one run.

usage: bench.py [--infold COMMAND] [--rounds N] [--threads N] [--json FILE] [--peers onnxruntime,openvino] [FOLDER…]

A folder holds model.onnx and inputs.npz; without folders, those of models/. Engines take turns of some runs each, so
that a noisy machine is noisy for all. A figure is the median over the rounds of an engine's median in its turn; the
last column is the median over the rounds of (the faster peer / infold) in that round: above 1, infold is faster.
infold optimizes the file by itself as it loads; the peers have all their optimizations on, and their telemetry off.
A peer that is not installed or does not run a model is left out."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENVINO_TELEMETRY_OPTOUT"] = "1"
ROOT = pathlib.Path(__file__).resolve().parents[1]
TURN = 0.05  # seconds, about


class Infold:
    name = "infold"

    def __init__(self, folder, arguments):
        words = [arguments.infold, "bench", str(folder / "model.onnx"), "--inputs", str(folder / "inputs.npz"),
                 "--threads", str(arguments.threads), "--interactive"]
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


class Peer:
    """An engine of this process; call() runs the model once."""

    def run(self, n):
        seconds = []
        for _ in range(n):
            start = time.perf_counter()
            self.call()
            seconds.append(time.perf_counter() - start)
        return seconds

    def close(self):
        self.call = None


def read_inputs(folder):
    import numpy as np
    with np.load(folder / "inputs.npz", allow_pickle=True) as archive:
        return dict(archive)


class OnnxRuntime(Peer):
    name = "onnxruntime"

    def __init__(self, folder, arguments):
        import onnxruntime as ort
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        inputs = read_inputs(folder)
        feeds = {i.name: inputs[i.name] for i in session.get_inputs()}
        self.call = lambda: session.run(None, feeds)


class OpenVino(Peer):
    name = "openvino"

    def __init__(self, folder, arguments):
        import openvino as ov
        config = {"INFERENCE_NUM_THREADS": arguments.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32",
                  "ENABLE_CPU_PINNING": False}
        compiled = ov.Core().compile_model(str(folder / "model.onnx"), "CPU", config)
        request = compiled.create_infer_request()
        inputs = read_inputs(folder)
        feeds = {i: inputs[next(n for n in i.get_names() if n in inputs)] for i in compiled.inputs}
        self.call = lambda: request.infer(feeds, share_inputs=True, share_outputs=True)


PEERS = {peer.name: peer for peer in (OnnxRuntime, OpenVino)}


def start(engine, folder, arguments):
    """The engine and how many runs make a turn, or None where it cannot run the model."""
    try:
        e = engine(folder, arguments)
        e.run(1)
        return e, max(1, min(200, round(TURN / max(1e-6, min(e.run(2))))))
    except Exception as error:
        if engine is Infold:
            raise
        arguments.complaints.append(f"{folder.name}: {engine.name}: {' '.join(str(error).split())[:120]}")
        return None


def compare(folder, arguments):
    """Medians by engine of each round."""
    engines = [Infold] + [PEERS[name] for name in arguments.peers.split(",") if name]
    started = [s for s in (start(e, folder, arguments) for e in engines) if s]
    try:
        rounds = {e.name: [] for e, _ in started}
        for _ in range(arguments.rounds):
            for e, turn in started:
                rounds[e.name].append(statistics.median(e.run(turn)))
        return rounds
    finally:
        for e, _ in started:
            e.close()


def summarize(rounds):
    """Median seconds by engine, and the paired ratio of the faster peer to infold (None without a peer)."""
    row = {name: statistics.median(s) for name, s in rounds.items()}
    mine = rounds["infold"]
    best = [min(turn) for turn in zip(*(s for name, s in rounds.items() if name != "infold"))]
    row["ratio"] = statistics.median(b / m for b, m in zip(best, mine)) if best else None
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    parser.add_argument("--infold", default=str(ROOT / "build/release/infold"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.complaints = []
    folders = arguments.folders or sorted(p.parent for p in (ROOT / "models").glob("*/model.onnx"))
    names = ["infold"] + [name for name in arguments.peers.split(",") if name]
    unknown = set(names[1:]) - set(PEERS)
    if unknown:
        parser.error(f"there is no peer '{unknown.pop()}'; there are {', '.join(PEERS)}")
    rows = []
    print(f"{'milliseconds':<32}" + "".join(f"{name:>14}" for name in names) + f"{'peer/infold':>14}")
    for folder in folders:
        try:
            row = summarize(compare(folder, arguments))
        except Exception as e:
            print(f"{folder.name:<32}  {' '.join(str(e).split())[:100]}", flush=True)
            continue
        rows.append({"model": folder.name, **row})
        times = "".join(f"{1e3 * row[n]:>14.3f}" if n in row else f"{'-':>14}" for n in names)
        print(f"{folder.name:<32}{times}" + (f"{row['ratio']:>14.2f}" if row["ratio"] else f"{'-':>14}"), flush=True)
    ratios = [r["ratio"] for r in rows if r["ratio"]]
    if ratios:
        print(f"{len(ratios)} model(s) at {arguments.threads} thread(s): geometric mean {statistics.geometric_mean(ratios):.2f}, "
              f"least {min(ratios):.2f}")
    for complaint in arguments.complaints:
        print(complaint)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"threads": arguments.threads, "models": rows}, indent=1))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
