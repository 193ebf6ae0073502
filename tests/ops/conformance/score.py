"""ONNX's own test cases against the cases that are known to pass (passing.txt): none of them may fail.

usage: score.py INFOLD [--work DIR] [--update] [FURTHER ARGUMENTS OF score_cli.py]

The cases are written and scored by the tools in $INFOLD_SHARED/tools/conformance (../shared without it). --update adds
what passes now to the list; nothing is ever taken from it."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PASSING = HERE / "passing.txt"
# What these expect was drawn from NumPy's generator after it had drawn their inputs: they pass but by chance.
DRAWN = re.compile(r"/test_bernoulli")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("infold")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/conformance")
    parser.add_argument("--update", action="store_true")
    arguments, further = parser.parse_known_args()
    tools = pathlib.Path(os.environ.get("INFOLD_SHARED", ROOT / "../shared")) / "tools/conformance"
    if not tools.is_dir():
        print(f"skipped: {tools} is absent")
        return 0
    arguments.work.mkdir(parents=True, exist_ok=True)
    cases, found = arguments.work / "cases", arguments.work / "found.json"
    if not (arguments.work / "written").exists():
        subprocess.run([sys.executable, tools / "gen.py", cases], check=True, stdout=subprocess.DEVNULL)
        (arguments.work / "written").touch()
    subprocess.run([sys.executable, tools / "score_cli.py", arguments.infold, "--data", cases, "--json", found,
                    "--jobs", str(os.cpu_count()), *further])
    status = {c["case"]: c for c in json.loads(found.read_text())["cases"]}
    known = PASSING.read_text().split()
    passing = {name for name, c in status.items() if c["status"] == "pass" and not DRAWN.search(name)}
    lost = [name for name in known if name in status and name not in passing]
    print(f"{len(passing)} pass, {len(known)} are known to, {len(passing - set(known))} are new, {len(lost)} are lost")
    for name in lost:
        print(f"LOST {name}: {status[name]['status']}: {' '.join(status[name]['msg'].split())[:200]}")
    if arguments.update:
        PASSING.write_text("".join(f"{name}\n" for name in sorted(passing | set(known))))
    return 1 if lost else 0


sys.exit(main())
