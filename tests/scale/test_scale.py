"""Cost grows as the work does: four times the nodes take four times as long to load, optimize, plan and run."""

import os
import pathlib
import resource
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
SMALL = 4000 if not os.environ.get("INFOLD_SANITIZE") else 1500
# 4 is linear, 16 quadratic.
MOST = 7


def constant(name, *shape):
    values = np.random.default_rng(len(name)).random(shape, np.float32) / 2
    return numpy_helper.from_array(values, name)


def chain(n, node):
    """n nodes one after another: node(i, input, output) makes the i-th."""
    return [node(i, f"v{i - 1}" if i else "x", f"v{i}" if i < n - 1 else "y") for i in range(n)]


def eltwise(n):
    return chain(n, lambda i, a, b: helper.make_node("Relu" if i % 2 else "Neg", [a], [b])), []


def affine(n):
    return chain(n, lambda i, a, b: helper.make_node("Add" if i % 2 else "Mul", [a, f"c{i % 50}"], [b])), [
        constant(f"c{i}", 16) for i in range(50)]


def arithmetic(n):
    """Constants computed from constants, each used once."""
    nodes = [helper.make_node("Add", ["c", f"c{i}"], [f"s{i}"]) for i in range(n // 2)]
    nodes += chain(n // 2, lambda i, a, b: helper.make_node("Mul", [a, f"s{i}"], [b]))
    return nodes, [constant("c", 16)] + [constant(f"c{i}", 16) for i in range(n // 2)]


def convolutions(n):
    """Weights of their own for each."""
    return chain(n, lambda i, a, b: helper.make_node("Sigmoid", [a], [b]) if i % 2 else
                 helper.make_node("Conv", [a, f"w{i}"], [b])), [constant(f"w{i}", 4, 4, 1, 1) for i in range(0, n, 2)]


def normalized(n):
    """BatchNormalization that stays, each for a reason that the report gives."""
    k = n // 2
    return chain(2 * k, lambda i, a, b: helper.make_node("Softsign", [a], [b]) if i % 2 else
                 helper.make_node("BatchNormalization", [a, "c", "c", "c", "c"], [b], name=f"bn{i}")), [constant("c", 16)]


def wide(n):
    """Every value lives until the last node."""
    k = n // 2
    nodes = [helper.make_node("Add", ["x", f"c{i}"], [f"a{i}"]) for i in range(k)]
    nodes += [helper.make_node("Softmax", [f"a{i}"], [f"s{i}"]) for i in range(k)]
    return nodes + [helper.make_node("Concat", [f"s{i}" for i in range(k)], ["y"], axis=0)], [
        constant(f"c{i}", 16) for i in range(k)]


def joined(n):
    """Concats of three, the first and last of which are the same in all."""
    k = n // 2
    nodes = chain(k, lambda i, a, b: helper.make_node("Sigmoid", [a], [b if i < k - 1 else f"v{i}"]))
    nodes += [helper.make_node("Concat", ["x", f"v{i}", "x"], [f"c{i}"], axis=1) for i in range(k)]
    return nodes + [helper.make_node("Sum", [f"c{i}" for i in range(k)], ["y"])], []


def foreign(n):
    """Operators that nobody knows, each another."""
    return chain(n, lambda i, a, b: helper.make_node(f"Op{i}", [a], [b], domain="other")), []


def write(path, make, n):
    nodes, constants = make(n)
    shape = [1, 4, 3, 3] if make is convolutions else [1, 16]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("other", 1)],
                                 ir_version=8), path)


def seconds(*arguments):
    """Processor time of the command, which must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(small, large):
    """Least times of two commands that take turns: other work on the machine only adds to some of them, so that two
    turns do unless the larger seems too slow."""
    times = np.full(2, np.inf)
    for turn in range(6):
        times = np.minimum(times, [seconds(*small), seconds(*large)])
        if turn and is_linear(*times):
            break
    return times


def is_linear(small, large):
    return large < MOST * max(small, 0.03)


@pytest.mark.parametrize("make", [eltwise, affine, arithmetic, convolutions, normalized, wide, joined, foreign],
                         ids=lambda f: f.__name__)
def test_linear(make, tmp_path):
    models = [tmp_path / f"{n}.onnx" for n in (SMALL, 4 * SMALL)]
    for n, model in zip((SMALL, 4 * SMALL), models):
        write(model, make, n)
    for verb, words in {"optimize": ["-o", tmp_path / "out.onnx", "--no-verify", "--explain"], "inspect": [],
                        "run": ["--input", "x=random", "--threads", "1"]}.items():
        if make is foreign and verb == "run":
            continue
        small, large = least(*([verb, model, *words] for model in models))
        assert is_linear(small, large), f"{verb}: {small:.2f} s for {SMALL} nodes, {large:.2f} s for four times as many"
