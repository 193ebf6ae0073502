"""Single operators: infold beside ONNX Runtime, one thread, every operator at two sizes, the engines taking turns.

usage: operators.py [--infold COMMAND] [--rounds N] [--only REGEX] [--above RATIO] [--json FILE] [--markdown]

Rows are sorted by infold's time over ONNX Runtime's (the median over the rounds of the paired ratio), worst first. A row
is one node with its other operands as inputs, or as initializers where models have them so. What a peer does not run is
left out and said at the end."""

import argparse
import json
import pathlib
import re
import statistics
import sys
import tempfile
import types

import cases
import variants
from bench import ROOT, compare


def measure(case, size, arguments):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / f"{case.name}, {('small', 'large')[size]}".replace("/", " ")
        folder.mkdir()
        case.write(folder, size)
        rounds = compare(folder, arguments)
    if "onnxruntime" not in rounds:
        return None
    mine, theirs = rounds["infold"], rounds["onnxruntime"]
    return {"operator": case.name, "size": ("small", "large")[size], "infold": statistics.median(mine),
            "onnxruntime": statistics.median(theirs), "ratio": statistics.median(m / t for m, t in zip(mine, theirs))}


def print_rows(rows, markdown):
    if markdown:
        print("| operator | size | infold, ms | ONNX Runtime, ms | ratio |\n|---|---|---:|---:|---:|")
    for r in rows:
        cells = r["operator"], r["size"], f"{1e3 * r['infold']:.4f}", f"{1e3 * r['onnxruntime']:.4f}", f"{r['ratio']:.2f}"
        print("| " + " | ".join(cells) + " |" if markdown else "{:<36}{:<7}{:>11}{:>11}{:>8}".format(*cells))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--infold", default=str(ROOT / "build/release/infold"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a regular expression that names must hold")
    parser.add_argument("--above", type=float, default=0, help="shows only rows with a greater ratio")
    parser.add_argument("--json")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args(namespace=types.SimpleNamespace(threads=1, peers="onnxruntime", complaints=[]))
    rows, failed = [], []
    for case in (c for group in cases.GROUPS + variants.GROUPS for c in group() if re.search(arguments.only, c.name)):
        for size in 0, 1:
            try:
                row = measure(case, size, arguments)
                rows += [row] if row else []
            except Exception as e:
                failed.append(f"{case.name}: {' '.join(str(e).split())[:160]}")
    rows.sort(key=lambda r: -r["ratio"])
    print_rows([r for r in rows if r["ratio"] > arguments.above], arguments.markdown)
    n = len({r["operator"].split()[0] for r in rows})
    if rows:
        print(f"\n{n} operators, {len(rows)} rows: geometric mean {statistics.geometric_mean(r['ratio'] for r in rows):.2f}, "
              f"{sum(r['ratio'] > 3 for r in rows)} above 3")
    print("\n".join(dict.fromkeys(arguments.complaints + failed)))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
