"""Values that lie within others: parts made where their Concat is, pieces of Split and Slice read where they are. Drawn
graphs of joined, cut and changed tensors give what the reference evaluation gives, to the bit, for a batch and for one
sample alone, whose parts and pieces are side by side in memory."""
import os
import pathlib
import tempfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nodes as lib

IMAGE = [9, 31]


class Draft:
    """Values by name with their numbers of channels."""

    def __init__(self, rng, batch):
        self.rng, self.batch, self.nodes, self.weights = rng, batch, [], []
        self.channels = {"x": 6, "z": 16}

    def node(self, op, inputs, channels, **attrs):
        names = [f"v{len(self.nodes)}_{i}" for i in range(len(channels))]
        self.nodes.append(helper.make_node(op, inputs, names, **attrs))
        self.channels.update(zip(names, channels))

    def ints(self, *values):
        name = f"i{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def any(self):
        recent = list(self.channels)
        return recent[max(0, len(recent) - 1 - int(self.rng.exponential(4)))]

    def cut(self, c):
        return sorted(self.rng.integers(0, c + 1, 2).tolist())

    def change(self):
        self.node(str(self.rng.choice(["Relu", "Neg", "Abs"])), [x := self.any()], [self.channels[x]])

    def join(self):
        parts = [self.any() for _ in range(self.rng.integers(1, 5))]
        if sum(self.channels[p] for p in parts) < 200:
            self.node("Concat", parts, [sum(self.channels[p] for p in parts)], axis=1)

    def split(self):
        c = self.channels[x := self.any()]
        if c >= 2:
            first = int(self.rng.integers(1, c))
            self.node("Split", [x, self.ints(first, c - first)], [first, c - first], axis=1)

    def slice(self):
        c = self.channels[x := self.any()]
        first, last = self.cut(c)
        if first < last:
            self.node("Slice", [x, self.ints(first), self.ints(last), self.ints(1)], [last - first])

    def add(self):
        c = self.channels[x := self.any()]
        others = [v for v, n in self.channels.items() if n in (1, c)]
        self.node("Add", [x, str(self.rng.choice(others))], [c])

    def subtract_own_channel(self):
        """A piece of y is read all along while the difference could take y's memory."""
        self.pool()
        y, c = self.channels.popitem()
        at = int(self.rng.integers(c))
        self.node("Slice", [y, self.ints(at), self.ints(at + 1), self.ints(1)], [1])
        self.node("Sub", [y, self.channels.popitem()[0]], [c])

    def view(self):
        c = self.channels[x := self.any()]
        self.node("Reshape", [x, self.ints(self.batch, c, *IMAGE[::-1])], [c])
        self.node("Relu", [turned := self.channels.popitem()[0]], [c])
        self.node("Max", [self.channels.popitem()[0], turned], [c])
        self.node("Reshape", [self.channels.popitem()[0], self.ints(self.batch, c, *IMAGE)], [c])

    def pool(self):
        self.node("MaxPool", [x := self.any()], [self.channels[x]], kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def model(self):
        steps = [self.change, self.join, self.join, self.split, self.slice, self.add, self.subtract_own_channel, self.view, self.pool]
        while len(self.nodes) < 40:
            self.rng.choice(steps)()
        names = list(self.channels)[2:]
        outputs = sorted({names[-1], *self.rng.choice(names, 5).tolist()})
        io = lambda names: [helper.make_tensor_value_info(n, TensorProto.FLOAT, [self.batch, self.channels[n], *IMAGE]) for n in names]
        graph = helper.make_graph(self.nodes, "g", io(["x", "z"]), io(outputs), self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(folder, *options, **environment):
    out = folder / "out.npz"
    lib.subprocess.run([*lib.COMMAND, "run", folder / "model.onnx", "--inputs", folder / "in.npz", "--output", out, *options],
                       check=True, stdout=lib.subprocess.DEVNULL, env={**os.environ, **environment})
    with np.load(out) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize("seed", range(40))
def test_drawn(seed):
    rng = np.random.default_rng(seed)
    batch = 2 if seed % 4 == 0 else 1
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = Draft(rng, batch).model()
        onnx.checker.check_model(model)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "in.npz", x=rng.integers(-99, 99, [batch, 6, *IMAGE]).astype(np.float32),
                 z=rng.integers(-99, 99, [batch, 16, *IMAGE]).astype(np.float32))
        want = run(folder, *lib.REFERENCE, "--no-optimize")
        for options in ("--threads", "1"), ("--threads", "3"), ("--threads", "1", "--no-optimize"):
            got = run(folder, *options)
            for key in want:
                assert np.array_equal(got[key], want[key]), (options, key)
