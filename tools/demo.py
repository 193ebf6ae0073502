"""Shows what infold does to a model trained on handwritten digits: ./dev demo. Needs Python's own library only."""

import ast
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
INFOLD = pathlib.Path(sys.argv[1]).resolve()
MODEL, TEST = pathlib.Path("models/digits.onnx"), pathlib.Path("models/digits_test.npz")
OUT = pathlib.Path("build/demo")
SMALL = OUT / "digits.onnx"
SHADES = " .:-=+*#%@"


def title(text):
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    print(f"\n{bold}{text}{plain}", flush=True)


def infold(*args, show=True):
    words = [str(INFOLD), *map(str, args)]
    if show:
        title("$ " + " ".join(["infold", *words[1:]]))
        subprocess.run(words, check=True)
        return None
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def array(path, name):
    """Shape and elements of an array in an .npz archive."""
    with zipfile.ZipFile(path) as archive:
        raw = archive.read(name + ".npy")
    size = struct.unpack_from("<H", raw, 8)[0]
    header = ast.literal_eval(raw[10:10 + size].decode())
    letter = {"f4": "f", "f8": "d", "i8": "q"}[header["descr"].lstrip("<|")]
    count = (len(raw) - 10 - size) // struct.calcsize(letter)
    return header["shape"], struct.unpack_from(f"<{count}{letter}", raw, 10 + size)


def answers(path):
    """The class with the largest logit of each picture."""
    out = OUT / "logits.npz"
    infold("run", path, "--input", f"image={TEST}", "--output", out, show=False)
    (n, classes), logits = array(out, "logits")
    rows = [logits[i * classes:(i + 1) * classes] for i in range(n)]
    return [max(range(classes), key=row.__getitem__) for row in rows]


def draw(pixels):
    return ["".join(SHADES[round(p * 9)] * 2 for p in pixels[8 * r:8 * r + 8]) for r in range(8)]


def show_pictures(found, labels, count=4):
    _, pixels = array(TEST, "image")
    pictures = [draw(pixels[64 * i:64 * i + 64]) for i in range(count)]
    for rows in zip(*pictures):
        print("   ".join(rows))
    print("   ".join(f"reads {found[i]}, is {labels[i]}".ljust(16) for i in range(count)))


def milliseconds(path, *options):
    """One thread."""
    done = json.loads(infold("bench", path, "--input", f"image={TEST}", "--threads", 1, "--json", *options, show=False))
    return 1e3 * done["median"]


os.chdir(ROOT)
INFOLD = pathlib.Path(sys.argv[1]).resolve()
shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)
infold("inspect", MODEL)
infold("optimize", MODEL, "-o", SMALL)
infold("verify", MODEL, SMALL)

_, labels = array(TEST, "label")
title(f"{len(labels)} handwritten digits that were kept out of training")
found = {path: answers(path) for path in (MODEL, SMALL)}
show_pictures(found[SMALL], labels)
print()
for path, name, options in ((MODEL, "before", ["--no-optimize"]), (SMALL, "after", [])):
    right = sum(a == b for a, b in zip(found[path], labels))
    print(f"{name:<7} {right} of {len(labels)} right ({100 * right / len(labels):.2f} %), "
          f"{milliseconds(path, *options):.2f} ms for all of them on one thread, {path.stat().st_size} bytes")
same = sum(a == b for a, b in zip(found[MODEL], found[SMALL]))
print(f"the answers agree on {same} of {len(labels)}; the optimized model is {SMALL}")
