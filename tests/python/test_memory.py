"""Memory of sessions: weights are held once, those that went come back, runs of changing shapes leave nothing behind."""

import os
import pathlib
import random
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
import infold  # noqa: E402

COMMAND = os.environ.get("INFOLD", str(ROOT / "build/release/infold"))
SANITIZED = bool(os.environ.get("INFOLD_SANITIZE"))


def tensor(name, *shape, low=0.0):
    values = np.random.default_rng(list(name.encode())).random(shape).astype("f4") + np.float32(low)
    return numpy_helper.from_array(values / np.float32(np.sqrt(values.size / shape[0])) if len(shape) > 1 else values, name)


def convolutions(folder, layers, channels, kernel, shift=0):
    """Conv and BatchNormalization by turns on images of any size; `shift` moves weights to odd places in the file."""
    nodes, weights, x = [], [], "x"
    for i in range(layers):
        weights += [tensor(f"w{i}", channels, channels, kernel, kernel, low=-0.5), tensor(f"s{i}", channels, low=0.5),
                    tensor(f"b{i}", channels), tensor(f"m{i}", channels), tensor(f"v{i}", channels, low=0.5)]
        nodes += [helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[kernel // 2] * 4),
                  helper.make_node("BatchNormalization", [f"c{i}", *(f"{k}{i}" for k in "sbmv")], [f"y{i}"])]
        x = f"y{i}"
    value = lambda name: helper.make_tensor_value_info(name, 1, ["N", channels, "H", "W"])  # noqa: E731
    graph = helper.make_graph(nodes, "chain" + "_" * shift, [value("x")], [value(x)], weights)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def peak_of(*words):
    """Most bytes that a command held, pages of files included."""
    child = os.posix_spawn(COMMAND, [COMMAND, *map(str, words)], os.environ,
                           file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return usage.ru_maxrss * 1024


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold memory of their own")
@pytest.mark.parametrize("shift", range(4))
def test_weights_are_held_once(tmp_path, tmp_path_factory, shift):
    path = convolutions(tmp_path, layers=12, channels=1024, kernel=1, shift=shift)
    weights = path.stat().st_size
    few = convolutions(tmp_path_factory.mktemp("few"), layers=1, channels=16, kernel=1)
    words = ("--input", "x=random", "--threads", "1", "--output", tmp_path / "y.npz")
    held = peak_of("run", path, *words) - peak_of("run", few, *words)
    assert held < 1.6 * weights, (held, weights)


def test_weights_come_back(tmp_path):
    """Convolutions of small images want other forms of weights that were let go, of folded ones too."""
    path = convolutions(tmp_path, layers=3, channels=160, kernel=3)
    one = infold.Session(path, threads=1)
    for n, h, w in ((1, 40, 40), (2, 40, 40), (1, 1, 1), (1, 40, 40), (3, 2, 9), (1, 7, 7), (1, 1, 300)):
        x = np.random.default_rng(h * w).standard_normal((n, 160, h, w)).astype("f4")
        (a,), (b,) = one.run(None, {"x": x}), infold.Session(path, threads=1).run(None, {"x": x})
        assert a.tobytes() == b.tobytes(), (n, h, w)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(SANITIZED, reason="sanitizers keep freed memory")
def test_ten_thousand_runs_leave_nothing_behind():
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
      g (float[N,L,16] x) => (float[N,M,16] y, float[N,L] z) <float[16,16] w = {{{", ".join(["0.25"] * 256)}}}> {{
        p = MatMul(x, w)  q = Relu(p)  axes = Constant <value_ints = [2]> ()
        z = ReduceSum <keepdims = 0> (q, axes)  b = Greater(z, z)  i = NonZero(b)  y = Concat <axis = 1> (p, q) }}"""
    session = infold.Session(onnx.parser.parse_model(text).SerializeToString(), threads=2)
    draw = random.Random(0)
    x = np.ones((8, 300, 16), "f4")
    for run in range(10000):
        if run == 2000:
            before = resident()
        n, length = draw.randint(1, 8), draw.randint(1, 300)
        session.run(None, {"x": x[:n, :length]})
    grown = resident() - before
    assert grown < 2 << 20, f"{grown} bytes more after 8,000 runs"
