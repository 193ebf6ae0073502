"""infold optimize beside other ONNX optimizers, each as a whole process on the same files.

usage: optimizers.py [--infold COMMAND] [--tools A,B] [--cache FILE] [--docs FILE] [--seconds N] FOLDER…

A folder holds model.onnx and inputs.npz. Run it by a Python with the packages of bench/requirements.txt; a tool that
is not installed is left out. Of each tool and model: nodes (without Constant, subgraphs and local functions included)
and BatchNormalization nodes left, seconds and peak memory of the process, from its start to its end, and the worst
error of what it wrote: run by ONNX Runtime without optimizations, against the original run in float64 by infold, as
part of the largest value of an output. A result is right when its inputs and outputs are those of the original and
its error is at most ten times that of the original, or 1e-4. --docs puts the tables into a Markdown file, between its
marks. --cache keeps results of other tools by their version and the model's bytes."""

import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ROOT = pathlib.Path(__file__).resolve().parents[1]
ORT = """import sys, onnxruntime as o
s = o.SessionOptions()
s.graph_optimization_level = o.GraphOptimizationLevel.ORT_ENABLE_BASIC
s.optimized_model_filepath = sys.argv[2]
s.log_severity_level = 3
o.InferenceSession(sys.argv[1], s, providers=["CPUExecutionProvider"])"""
ONNXSCRIPT = """import sys, onnx, onnxscript.optimizer
onnx.save(onnxscript.optimizer.optimize(onnx.load(sys.argv[1])), sys.argv[2])"""
POLYGRAPHY = """import sys
from polygraphy.tools import main
sys.argv[1:] = ["surgeon", "sanitize", "--fold-constants", sys.argv[1], "-o", sys.argv[2]]
sys.exit(main())"""

# name: (package, words of its command, where {i} and {o} stand for the files)
PEERS = {
    "onnxsim": ("onnxsim", ["-m", "onnxsim", "{i}", "{o}"]),
    "onnxslim": ("onnxslim", ["-m", "onnxslim", "{i}", "{o}"]),
    "onnxoptimizer": ("onnxoptimizer", ["-m", "onnxoptimizer", "{i}", "{o}"]),
    "ORT offline": ("onnxruntime", ["-c", ORT, "{i}", "{o}"]),
    "onnxscript": ("onnxscript", ["-c", ONNXSCRIPT, "{i}", "{o}"]),
    "polygraphy": ("polygraphy", ["-c", POLYGRAPHY, "{i}", "{o}"]),
}
INFOLD = {"infold": [], "infold, not verifying": ["--no-verify"]}


def tools(arguments):
    """(name, version, words of the command) of each that is there."""
    found = [(name, "", [arguments.infold, "optimize", "{i}", "-o", "{o}", *options])
             for name, options in INFOLD.items()]
    for name, (package, words) in PEERS.items():
        try:
            found.append((name, importlib.metadata.version(package), [sys.executable, *words]))
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed", file=sys.stderr)
    return [t for t in found if not arguments.tools or t[0] in arguments.tools.split(",")]


# ---- one process ----


# A process inherits what its parent held as its own peak: this small one stands between.
LAUNCH = """import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while True:
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    taken = time.perf_counter() - start
    if pid:
        print(os.waitstatus_to_exitcode(status), taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, flush=True)
        os._exit(0)
    if taken > float(sys.argv[1]):
        process.kill()
    time.sleep(0.001)
"""


def run(words, seconds):
    """Exit code, seconds, seconds of processors, peak memory in MB."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", LAUNCH, str(seconds), *words], capture_output=True, text=True,
                          check=True)
    code, *numbers = done.stdout.split()
    return int(code), *map(float, numbers)


# ---- what came out ----


def all_nodes(nodes):
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from all_nodes(graph.node)


def count(model):
    nodes = [n for f in [model.graph, *model.functions] for n in all_nodes(f.node) if n.op_type != "Constant"]
    return len(nodes), sum(n.op_type == "BatchNormalization" for n in nodes)


def signature(model):
    constants = {t.name for t in model.graph.initializer}
    return [v.name for v in model.graph.input if v.name not in constants], [v.name for v in model.graph.output]


def outputs_of(path, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {v.name: feeds[v.name] for v in session.get_inputs() if v.name in feeds}
    return dict(zip([v.name for v in session.get_outputs()], session.run(None, given)))


def worst(outputs, exact):
    """As part of an output's largest value; what is no array of numbers is left out."""
    errors = [0.0]
    for name, x in outputs.items():
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub" or name not in exact or not x.size:
            continue
        y = exact[name].astype("f8")
        if x.shape != y.shape:
            return float("inf")
        off = np.abs(x.astype("f8") - y)
        off[np.isnan(x) & np.isnan(y)] = 0
        errors.append(float(np.nan_to_num(off, nan=np.inf).max() / max(np.abs(np.nan_to_num(y)).max(), 1e-30)))
    return max(errors)


class Original:
    """A model with what its results are judged by."""

    def __init__(self, folder, arguments):
        self.folder, self.path = folder, folder / "model.onnx"
        model = onnx.load(self.path)
        self.nodes, self.signature = count(model), signature(model)
        self.hash = hashlib.sha256(self.path.read_bytes()).hexdigest()
        with np.load(folder / "inputs.npz", allow_pickle=True) as archive:
            self.feeds = {name: archive[name] for name in archive.files}
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run([arguments.infold, "run", self.path, "--inputs", folder / "inputs.npz", "--float64",
                            "--output", f"{tmp}/exact.npz"], check=True, capture_output=True)
            with np.load(f"{tmp}/exact.npz", allow_pickle=True) as archive:
                self.exact = {name: archive[name] for name in archive.files}
        self.error = worst(outputs_of(self.path, self.feeds), self.exact)

    def judge(self, path):
        try:
            model = onnx.load(path)
            nodes, left = count(model)
        except Exception as e:
            return {"verdict": "unloadable", "why": str(e)[:200]}
        found = {"nodes": nodes, "bn": left, "bytes": path.stat().st_size}
        if signature(model) != self.signature:
            return {**found, "verdict": "signature"}
        try:
            found["error"] = worst(outputs_of(path, self.feeds), self.exact)
        except Exception as e:
            return {**found, "verdict": "unloadable", "why": str(e)[:200]}
        return {**found, "verdict": "right" if found["error"] <= max(1e-4, 10 * self.error) else "wrong"}


def measure(original, words, seconds):
    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp) / "out.onnx"
        words = [w.replace("{i}", str(original.path)).replace("{o}", str(out)) for w in words]
        code, taken, processors, memory = run(words, seconds)
        result = {"seconds": taken, "processors": processors, "megabytes": memory}
        if code or not out.exists():
            return {**result, "verdict": "late" if taken > seconds else "failed", "code": code}
        return {**result, **original.judge(out)}


# ---- tables ----


def median(values):
    values = list(values)
    return statistics.median(values) if values else float("nan")


def summary(names, results, originals):
    """One line a tool. Seconds and memory are compared on the models where both it and infold wrote something."""
    lines = ["| | right | wrong | inputs or outputs changed | unloadable | failed | nodes | BatchNormalization | seconds: "
             "median, all | of processors | times infold's: median, least | of processors | peak MB: median, most | worst error |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    nodes, bn = (sum(o["nodes"][i] for o in originals.values()) for i in (0, 1))
    lines.append(f"| originals | | | | | | {nodes} | {bn} | | | | | | {max(o['error'] for o in originals.values()):.1e} |")
    base = results.get("infold, not verifying", {})
    for name in names:
        rows = results[name]
        verdicts = [r["verdict"] for r in rows.values()]
        # what was not optimized is as it was
        nodes, bn = (sum(r.get(key, originals[m]["nodes"][i]) for m, r in rows.items())
                     for i, key in ((0, "nodes"), (1, "bn")))
        ratios, busy = ([r[key] / max(base[m][key], 1e-3) for m, r in rows.items() if m in base]
                        for key in ("seconds", "processors"))
        right = [r["error"] for r in rows.values() if r["verdict"] == "right"]
        lines.append(
            f"| {name} | {verdicts.count('right')} | {verdicts.count('wrong')} | {verdicts.count('signature')} | "
            f"{verdicts.count('unloadable')} | {verdicts.count('failed') + verdicts.count('late')} | {nodes} | {bn} | "
            f"{median(r['seconds'] for r in rows.values()):.3g}, {sum(r['seconds'] for r in rows.values()):.3g} | "
            f"{median(r['processors'] for r in rows.values()):.3g}, {sum(r['processors'] for r in rows.values()):.3g} | "
            f"{median(ratios):.3g}, {min(ratios, default=float('nan')):.3g} | "
            f"{median(busy):.3g}, {min(busy, default=float('nan')):.3g} | "
            f"{median(r['megabytes'] for r in rows.values()):.3g}, {max(r['megabytes'] for r in rows.values()):.4g} | "
            f"{max(right, default=float('nan')):.1e} |")
    return lines


def cell(row):
    marks = {"right": "", "wrong": " wrong", "signature": " changed", "unloadable": " unloadable"}
    if row["verdict"] not in marks or "nodes" not in row:
        return row["verdict"]
    return f"{row['nodes']}{' (' + str(row['bn']) + ')' if row['bn'] else ''}{marks[row['verdict']]}"


def details(names, results, originals, text, title):
    lines = [f"| {title} | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for model in originals:
        lines.append(f"| {model} | {' | '.join(text(results[n][model]) for n in names)} |")
    return lines


def with_before(results, originals):
    before = {m: {"verdict": "right", "nodes": o["nodes"][0], "bn": o["nodes"][1]} for m, o in originals.items()}
    return {"before": before, **results}


def write_tables(names, versions, results, originals):
    seconds = [n for n in names if n != "infold"]
    parts = [
        f"{len(originals)} models; " + ", ".join(f"{n} {v}" for n, v in versions.items() if v) + ".", "",
        *summary(names, results, originals), "", "Nodes, and BatchNormalization nodes among them:", "",
        *details(["before", *[n for n in names if n != "infold, not verifying"]], with_before(results, originals),
                 originals, cell, "nodes"), "", "Seconds of the whole process, and its peak memory in MB:", "",
        *details(["infold", *seconds], results, originals,
                 lambda r: f"{r['seconds']:.2f}, {r['megabytes']:.0f}", "s, MB"),
        "", "Worst error against float64, as part of an output's largest value:", "",
        *details(["before", *[n for n in names if n != "infold, not verifying"]],
                 {"before": {m: {"error": o["error"]} for m, o in originals.items()}, **results}, originals,
                 lambda r: f"{r['error']:.1e}" if "error" in r else r["verdict"], "error"),
    ]
    return "\n".join(parts) + "\n"


def put_into(path, text):
    marks = "<!-- bench/optimizers.py: begin -->\n", "<!-- bench/optimizers.py: end -->\n"
    old = path.read_text()
    new = re.sub(f"({re.escape(marks[0])}).*({re.escape(marks[1])})", lambda m: m[1] + text + m[2], old, flags=re.S)
    if new == old and text not in old:
        sys.exit(f"{path} has no marks {marks[0].strip()}")
    path.write_text(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--infold", default=str(ROOT / "build/release/infold"))
    parser.add_argument("--tools", help="only these, separated by commas")
    parser.add_argument("--cache", type=pathlib.Path, help="JSON file of results")
    parser.add_argument("--docs", type=pathlib.Path, help="Markdown file with marks to put the tables between")
    parser.add_argument("--seconds", type=float, default=300, help="most time of one process")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    cache = json.loads(arguments.cache.read_text()) if arguments.cache and arguments.cache.exists() else {}
    measured, originals = tools(arguments), {}
    results = {name: {} for name, _, _ in measured}
    for folder in arguments.folders:
        try:
            original = Original(folder, arguments)
        except Exception as e:
            print(f"{folder.name}: left out, the original does not run: {str(e)[:200]}", file=sys.stderr)
            continue
        originals[folder.name] = {"nodes": original.nodes, "error": original.error}
        for name, version, words in measured:
            key = f"{name} {version} {original.hash}"
            if version and key in cache:
                results[name][folder.name] = cache[key]
                continue
            result = cache[key] = measure(original, words, arguments.seconds)
            results[name][folder.name] = result
            print(f"{folder.name}: {name}: {cell(result)}, {result['seconds']:.2f} s, {result['megabytes']:.0f} MB",
                  flush=True)
        if arguments.cache:
            arguments.cache.write_text(json.dumps(cache, indent=1))
    names = [n for n, _, _ in measured]
    text = write_tables(names, {n: v for n, v, _ in measured}, results, originals)
    if arguments.docs:
        put_into(arguments.docs, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
