"""Products with constant weights as sessions run them, in models of several: what follows them (a bias, an activation as
one operator or written out, a residual, a gate) is done in their stores. Against the reference evaluation, and the same
bits for every ISA and number of threads."""
import collections
import pathlib
import tempfile

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nodes as lib
from test_conv import Net, run


class Mlp(Net):
    def number(self, value, shape=()):
        self.n += 1
        self.weights.append(numpy_helper.from_array(np.full(shape, value, np.float32), f"c{self.n}"))
        return f"c{self.n}"

    def linear(self, x, k, n, row=True):
        y = self.node("MatMul", [x, self.constant(k, n)])
        return self.node("Add", [y, self.constant(n)] if row else [self.constant(1, n), y])

    def gelu_erf(self, x):
        gate = self.node("Add", [self.node("Erf", [self.node("Div", [x, self.number(2 ** .5)])]), self.number(1)])
        return self.node("Mul", [self.node("Mul", [x, gate]), self.number(.5)])

    def gelu_erf_half_first(self, x):
        half = self.node("Mul", [self.number(.5), x])
        erf = self.node("Erf", [self.node("Mul", [x, self.number(.5 ** .5, (1,))])])
        return self.node("Mul", [half, self.node("Add", [self.number(1), erf])])

    def gelu_tanh(self, x):
        cube = self.node("Mul", [self.node("Pow", [x, self.number(3)]), self.number(.044715)])
        inner = self.node("Mul", [self.node("Add", [x, cube]), self.number((2 / np.pi) ** .5)])
        gate = self.node("Add", [self.node("Tanh", [inner]), self.number(1)])
        return self.node("Mul", [self.node("Mul", [self.number(.5), x]), gate])

    def gelu_tanh_square(self, x):
        square = self.node("Mul", [self.number(.044715), self.node("Mul", [x, x])])
        inner = self.node("Mul", [x, self.node("Add", [square, self.number(1)])])
        gate = self.node("Add", [self.number(1), self.node("Tanh", [self.node("Mul", [inner, self.number((2 / np.pi) ** .5)])])])
        return self.node("Mul", [self.node("Mul", [x, gate]), self.number(.5)])

    def quick_gelu(self, x):
        return self.node("Mul", [x, self.node("Sigmoid", [self.node("Mul", [self.number(1.702), x])])])

    def silu(self, x):
        return self.node("Mul", [self.node("Sigmoid", [x]), x])

    def mish(self, x):
        return self.node("Mul", [x, self.node("Tanh", [self.node("Softplus", [x])])])

    def hard_swish(self, x):
        return self.node("Mul", [x, self.node("HardSigmoid", [x], alpha=.25, beta=.4)])


def single(op, **attrs):
    return lambda n, x: n.node(op, [x], **attrs)


def as_method(name):
    return lambda n, x: getattr(n, name)(x)


ACTIVATIONS = {
    **{name: as_method(name) for name in ("relu", "gelu_erf", "gelu_erf_half_first", "gelu_tanh", "gelu_tanh_square",
                                          "quick_gelu", "silu", "mish", "hard_swish")},
    "tanh": single("Tanh"), "sigmoid": single("Sigmoid"), "elu": single("Elu", alpha=.5), "softplus": single("Softplus"),
    "leaky": single("LeakyRelu", alpha=.2), "hard_sigmoid": single("HardSigmoid"), "exp": single("Exp"),
}


def check(n, y, steps):
    """The model's results, and the operators that it runs as, with their counts."""
    model, rng = n.model(y), n.rng
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "in.npz", x=rng.standard_normal(n.shape).astype(np.float32))
        want = run(folder, *lib.REFERENCE)
        bits = run(folder, "--threads", "1", INFOLD_CPU="ref")
        assert bits.shape == want.shape
        np.testing.assert_allclose(bits, want, rtol=1e-4, atol=1e-5 * float(np.abs(want).max()))
        for isa, threads in ("avx2", "1"), ("avx512", "1"), ("avx512", "3"):
            assert run(folder, "--threads", threads, INFOLD_CPU=isa).tobytes() == bits.tobytes(), (isa, threads)
        ran = lib.profile(folder / "model.onnx", "--inputs", folder / "in.npz")
        assert collections.Counter(operator for operator, _ in ran) == steps, ran
        return ran


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    n = Mlp(np.random.default_rng(len(name)), [2, 5, 20])
    y = n.linear(ACTIVATIONS[name](n, n.linear("x", 20, 37)), 37, 19, row=False)
    check(n, y, {"MatMul": 2})


def test_residual():
    n = Mlp(np.random.default_rng(1), [3, 7, 24])
    y = n.node("Add", ["x", n.linear(n.gelu_erf(n.linear("x", 24, 50)), 50, 24)])
    y = n.relu(n.node("Add", [n.linear(y, 24, 24), y]))
    check(n, y, {"MatMul": 3})


def test_gate():
    n = Mlp(np.random.default_rng(2), [1, 9, 18])
    y = n.node("Mul", [n.silu(n.node("MatMul", ["x", n.constant(18, 33)])), n.node("MatMul", ["x", n.constant(18, 33)])])
    check(n, n.linear(y, 33, 18), {"MatMul": 3})


def test_gemm():
    n = Mlp(np.random.default_rng(3), [6, 30])
    y = n.relu(n.node("Gemm", ["x", n.constant(41, 30), n.constant(41)], transB=1))
    y = n.silu(n.node("Gemm", [y, n.constant(41, 16), n.constant(1, 16)]))
    check(n, n.node("Sigmoid", [n.node("Gemm", [y, n.constant(16, 3)])]), {"MatMul": 3})


@pytest.mark.parametrize("shape, hidden, packed", [
    ([1, 60, 24], 48, 2), ([3, 56, 17], 272, 2), ([2, 8, 9, 16], 160, 3), ([1, 130, 20], 1040, 2),
    ([2, 55, 24], 48, 0), ([1, 60, 24], 50, 0), ([60, 24], 48, 0)], ids=str)
def test_packed_rows(shape, hidden, packed):
    """What one product makes for another is stored as that one reads it: where a sample has rows enough, in whole vectors."""
    n = Mlp(np.random.default_rng(6), shape)
    k = shape[-1]
    y = n.node("Add", ["x", n.linear(n.gelu_erf(n.linear("x", k, hidden)), hidden, k)])
    y = n.linear(n.relu(n.linear(y, k, hidden)), hidden, k)
    steps = {"MatMul": 4} if len(shape) > 2 else {"MatMul": 3, "Gemm": 1}
    assert check(n, y, steps).count(("MatMul", "gemm packed")) == packed


def test_matrices_differ():
    """A batch of weights: the residual of each product is its own."""
    n = Mlp(np.random.default_rng(4), [4, 6, 10])
    y = n.relu(n.node("Add", [n.node("MatMul", ["x", n.constant(4, 10, 10)]), "x"]))
    check(n, y, {"MatMul": 1})


def test_left_alone():
    """What is read twice, scaled, or added along rows stays outside."""
    n = Mlp(np.random.default_rng(5), [5, 12])
    y = n.node("MatMul", ["x", n.constant(12, 12)])
    y = n.node("Sub", [n.node("Tanh", [y]), n.node("Softmax", [y])])
    y = n.node("Gemm", [y, n.constant(12, 12), n.constant(5, 1)], alpha=.5)
    y = n.node("Add", [n.node("MatMul", [y, n.constant(12, 8)]), n.constant(5, 1)])
    check(n, y, {"MatMul": 2, "Gemm": 1, "Chain": 1, "Softmax": 1, "Add": 1})
