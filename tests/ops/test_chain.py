"""Trees of elementwise operators give the same bits as one node after another, whatever runs them."""
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nodes as lib
from test_lowered import run

F32 = np.float32
UNARY = ["Relu", "Sigmoid", "Tanh", "Exp", "Neg", "Abs", "Softplus", "Gelu", "LeakyRelu", "HardSwish", "Sqrt", "Erf"]
BINARY = ["Add", "Sub", "Mul", "Div", "Min", "Max"]


class Tree(lib.Nodes):
    """A random graph of elementwise nodes, some of whose results are read twice or are outputs too."""

    def __init__(self, rng, shape, n, free=()):
        super().__init__(20)
        self.rng, self.shape, self.constants, self.free = rng, shape, [], free
        self.values = [self.input(shape)]
        for i in range(n):
            self.node(i)
        self.outputs = [v for v in self.values if not v.startswith("i") and
                        (v == self.values[-1] or rng.random() < .05)]
        self.expected = [(None, None, None, None)] * len(self.outputs)

    def with_all_outputs(self):
        """The same nodes, every result an output: nothing can be joined. And the places of the outputs asked for."""
        asked, self.outputs = self.outputs, [v for v in self.values if v.startswith("v")]
        return asked, [self.outputs.index(v) for v in asked]

    def input(self, shape):
        name = f"i{len(self.inputs)}"
        self.inputs.append((name, self.rng.uniform(.5, 1.5, shape).astype(F32)))
        return name

    def operand(self):
        draw = self.rng.random()
        if draw < .55:
            return self.values[-1] if self.rng.random() < .7 else self.values[self.rng.integers(len(self.values))]
        if draw < .7:
            return self.input(self.shape)
        shape = () if draw < .8 else tuple(d if self.rng.random() < .5 else 1 for d in self.shape)
        if draw > .9:
            return self.input(shape)
        self.constants.append(numpy_helper.from_array(self.rng.uniform(.5, 1.5, shape).astype(F32), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def node(self, i):
        last = self.values[-1]
        draw = self.rng.random()
        if draw < .4:
            op, inputs = self.rng.choice(UNARY), [last]
        elif draw < .5:
            self.constants.append(numpy_helper.from_array(F32(self.rng.integers(2, 5)), f"c{len(self.constants)}"))
            op, inputs = "Pow", [last, self.constants[-1].name]
        elif draw < .6:
            op, inputs = "Sum", [last, self.operand(), self.operand()]
        else:
            op, inputs = self.rng.choice(BINARY), [last, self.operand()]
            if self.rng.random() < .3:
                inputs.reverse()
        self.nodes.append(helper.make_node(op, inputs, [f"v{i}"], name=f"n{i}"))
        self.values.append(f"v{i}")

    def model(self):
        model = super().model()
        model.graph.initializer.extend(self.constants)
        for x in model.graph.input:
            if self.free and len(x.type.tensor_type.shape.dim) == len(self.shape):
                for d, size in zip(x.type.tensor_type.shape.dim, self.shape):
                    if d.dim_value == size and size > 1:
                        d.dim_param = f"N{size}"
        return model


def same(a, b):
    """Bit for bit; any NaN is as good as another."""
    return all(np.where(np.isnan(x), F32(np.nan), x).tobytes() == np.where(np.isnan(y), F32(np.nan), y).tobytes()
               for x, y in zip(a, b))


@pytest.mark.parametrize("seed", range(24))
def test_chain_bits(seed):
    rng = np.random.default_rng(seed)
    shape = [(5000,), (7, 300), (2, 5, 11, 13), (3, 1, 200), (0, 4), (2, 3, 4)][seed % 6]
    with np.errstate(all="ignore"):
        tree = Tree(rng, shape, int(rng.integers(2, 40)), free=seed % 4 == 3)
    asked, places = tree.with_all_outputs()
    apart = run(tree, ("--no-optimize", "--threads", "1"))
    want, tree.outputs = [apart[i] for i in places], asked
    for isa, threads in ("ref", "1"), ("avx2", "2"), ("avx512", "3"):
        assert same(run(tree, ("--threads", threads), INFOLD_CPU=isa), want), (isa, [n.op_type for n in tree.nodes])


def test_a_long_chain_is_a_few_steps(tmp_path):
    """A hundred nodes run as at most a dozen steps."""
    import subprocess
    tree = Tree(np.random.default_rng(1), (4, 50), 0)
    for i in range(100):
        tree.nodes.append(helper.make_node("Tanh" if i % 2 else "Exp", [tree.values[-1]], [f"v{i}"]))
        tree.values.append(f"v{i}")
    tree.outputs = [tree.values[-1]]
    onnx.save(tree.model(), tmp_path / "m.onnx")
    p = subprocess.run([*lib.COMMAND, "run", tmp_path / "m.onnx", "--profile", "--input", "i0=random"],
                       capture_output=True, text=True, timeout=60)
    assert p.returncode == 0, p.stderr
    assert 1 <= (p.stdout + p.stderr).count("chain") <= 12, p.stdout + p.stderr
