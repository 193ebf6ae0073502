"""RNN, GRU and LSTM against ONNX's equations in float64 NumPy, for every direction, layout, activation and option."""
import itertools
import os

import numpy as np
import pytest

from nodes import Nodes, refuses, versions_of

RNG = np.random.default_rng(21)
F32 = np.float32
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def function(name, a, b):
    return {"Relu": lambda v: np.maximum(v, 0), "Tanh": np.tanh, "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
            "Affine": lambda v: a * v + b, "LeakyRelu": lambda v: np.where(v < 0, a * v, v),
            "ThresholdedRelu": lambda v: np.where(v >= a, v, 0), "ScaledTanh": lambda v: a * np.tanh(b * v),
            "HardSigmoid": lambda v: np.clip(a * v + b, 0, 1), "Elu": lambda v: np.where(v < 0, a * np.expm1(v), v),
            "Softsign": lambda v: v / (1 + abs(v)), "Softplus": lambda v: np.log1p(np.exp(v))}[name]


def step(op, f, clip, x, h, c, w, r, wb, rb, p, linear, coupled):
    """One step of one sequence: the new h and c."""
    n = h.size
    act = [lambda v, g=g: g(np.clip(v, -clip, clip)) for g in f]
    xs, hs = (w @ x + wb).reshape(-1, n), (r @ h + rb).reshape(-1, n)
    if op == "RNN":
        return act[0](xs[0] + hs[0]), c
    if op == "GRU":
        z, reset = act[0](xs[0] + hs[0]), act[0](xs[1] + hs[1])
        inner = reset * hs[2] if linear else r[2 * n:] @ (reset * h) + rb[2 * n:]
        return (1 - z) * act[1](xs[2] + inner) + z * h, c
    pi, po, pf = p
    i = act[0](xs[0] + hs[0] + pi * c)
    forget = 1 - i if coupled else act[0](xs[2] + hs[2] + pf * c)
    c = forget * c + i * act[1](xs[3] + hs[3])
    return act[0](xs[1] + hs[1] + po * c) * act[2](c), c


def layer(op, x, w, r, b, lens, h0, c0, p, *, direction="forward", layout=0, clip=np.inf, linear_before_reset=0,
          input_forget=0, activations=None, activation_alpha=(), activation_beta=(), hidden_size=None):
    if layout:
        x = x.swapaxes(0, 1)
        h0, c0 = (None if s is None else s.swapaxes(0, 1) for s in (h0, c0))
    steps, batch, _ = x.shape
    dirs, n = r.shape[0], r.shape[2]
    g = GATES[op] * n
    names = activations or DEFAULTS[op] * dirs
    alphas, betas = iter(activation_alpha), iter(activation_beta)
    used = {"Affine": "ab", "LeakyRelu": "a", "ThresholdedRelu": "a", "ScaledTanh": "ab", "HardSigmoid": "ab", "Elu": "a"}
    standard = {"LeakyRelu": (.01, 0), "HardSigmoid": (.2, .5), "Affine": (1, 0), "ScaledTanh": (1, 1)}
    f = []
    for name in names:
        a, b_ = standard.get(name, (1, 0))
        f.append(function(name, next(alphas, a) if "a" in used.get(name, "") else 0,
                          next(betas, b_) if "b" in used.get(name, "") else 0))
    y, y_h, y_c = np.zeros((steps, dirs, batch, n)), np.zeros((dirs, batch, n)), np.zeros((dirs, batch, n))
    for d, k in itertools.product(range(dirs), range(batch)):
        h = np.zeros(n) if h0 is None else h0[d, k].astype(float)
        c = np.zeros(n) if c0 is None else c0[d, k].astype(float)
        bias = np.zeros(2 * g) if b is None else b[d].astype(float)
        length = steps if lens is None else lens[k]
        order = range(length)
        for t in reversed(order) if d == 1 or direction == "reverse" else order:
            peep = np.zeros((3, n)) if p is None else p[d].reshape(3, n).astype(float)
            h, c = step(op, f[d * len(DEFAULTS[op]):][:len(DEFAULTS[op])], clip, x[t, k].astype(float), h, c,
                        w[d].astype(float), r[d].astype(float), bias[:g], bias[g:], peep, linear_before_reset, input_forget)
            y[t, d, k] = h
        y_h[d, k], y_c[d, k] = h, c
    if layout:
        y, y_h, y_c = y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)
    return [v.astype(x.dtype) for v in (y, y_h, y_c)][:3 if op == "LSTM" else 2]


def tensors(op, steps, batch, inputs, hidden, dirs, dtype=F32, full=True, layout=0):
    """X, W, R and, if full, B, sequence_lens, initial_h (and initial_c, P)."""
    def t(*shape, scale=.6):
        return RNG.uniform(-scale, scale, shape).astype(dtype)
    g = GATES[op]
    x = t(*((batch, steps) if layout else (steps, batch)), inputs, scale=2)
    result = [x, t(dirs, g * hidden, inputs), t(dirs, g * hidden, hidden)]
    if full:
        states = (batch, dirs, hidden) if layout else (dirs, batch, hidden)
        lens = RNG.integers(0, steps + 1, batch).astype(np.int32)
        result += [t(dirs, 2 * g * hidden), lens, t(*states)]
        result += [t(*states), t(dirs, 3 * hidden)] if op == "LSTM" else []
    return result


def add(nodes, op, inputs, wanted=None, **attrs):
    expected = layer(op, *inputs, *[None] * (8 - len(inputs)), **attrs)
    nodes.add(op, inputs, [e if wanted is None or i in wanted else None for i, e in enumerate(expected)],
              hidden_size=inputs[2].shape[2], **{k: list(v) if isinstance(v, tuple) else v for k, v in attrs.items()})


@pytest.mark.parametrize("op", GATES)
def test_every_version(op):
    for version in versions_of(op):
        nodes = Nodes(version)
        extra = {"linear_before_reset": 0} if op == "GRU" and version >= 3 else {}
        for dtype, (direction, dirs) in itertools.product((F32, np.float64, np.float16),
                                                          (("forward", 1), ("reverse", 1), ("bidirectional", 2))):
            for full in False, True:
                add(nodes, op, tensors(op, 5, 3, 4, 6, dirs, dtype, full), direction=direction, **extra)
        nodes.check(ulps=4, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_options(op):
    nodes = Nodes(22)
    for layout, (direction, dirs), full in itertools.product((0, 1), (("forward", 1), ("bidirectional", 2)), (0, 1)):
        shapes = [(1, 1, 3, 5), (7, 2, 20, 33), (4, 37, 3, 16)]
        for s in shapes:
            attrs = {"direction": direction, "layout": layout}
            i = tensors(op, *s, dirs, F32, full, layout)
            add(nodes, op, i, **attrs)
            add(nodes, op, i, clip=.25, **attrs)
            if op == "GRU":
                add(nodes, op, i, linear_before_reset=1, **attrs)
            if op == "LSTM":
                add(nodes, op, i, input_forget=1, **attrs)
            add(nodes, op, i, wanted={1}, **attrs)
            add(nodes, op, i, wanted={0}, **attrs)
    nodes.check(ulps=8, atol=1e-5)


def test_activations():
    nodes = Nodes(14)
    names = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu",
             "Softsign", "Softplus"]
    for name in names:
        i = tensors("RNN", 3, 2, 3, 5, 1)
        add(nodes, "RNN", i, activations=(name,))
        add(nodes, "RNN", i, activations=(name,), activation_alpha=(.5,), activation_beta=(.3,))
    i = tensors("LSTM", 3, 2, 3, 5, 2)
    add(nodes, "LSTM", i, direction="bidirectional", activation_alpha=(.3, .4, .6), activation_beta=(.2, .1),
        activations=("HardSigmoid", "ScaledTanh", "Elu", "Sigmoid", "Softsign", "Tanh"))
    add(nodes, "GRU", tensors("GRU", 3, 2, 3, 5, 1), activations=("HardSigmoid", "Relu"))
    nodes.check(ulps=8, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_same_bits(op):
    """Any ISA; a sequence alone and in a batch."""
    i = tensors(op, 6, 20, 7, 19, 2)
    zeros = layer(op, *i, *[None] * (8 - len(i)), direction="bidirectional")
    results = []
    for isa in "ref", "avx2", "avx512":
        os.environ["INFOLD_CPU"] = isa
        try:
            results.append(Nodes(22).add(op, i, zeros, hidden_size=19, direction="bidirectional").run())
        finally:
            del os.environ["INFOLD_CPU"]
    for other in results[1:]:
        assert all((a == b).all() for a, b in zip(results[0], other))
    for k in 3, 17:
        alone = [i[0][:, k:k + 1], i[1], i[2], i[3], i[4][k:k + 1], *[s[:, k:k + 1] for s in i[5:7]], *i[7:]]
        one = Nodes(22).add(op, alone, zeros, hidden_size=19, direction="bidirectional").run()
        assert (one[0][:, :, 0] == results[0][0][:, :, k]).all() and (one[1][:, 0] == results[0][1][:, k]).all()


@pytest.mark.parametrize("op", GATES)
def test_steps_after_the_longest(op):
    """What X holds there is nobody's: NaN."""
    nodes = Nodes(22)
    for layout, lens in itertools.product((0, 1), ([9, 0, 31], [0, 0, 0], [200, 1, 7])):
        i = tensors(op, 200, 3, 64, 32, 2, layout=layout)
        i[0][(slice(None), slice(max(lens), None)) if layout else slice(max(lens), None)] = np.nan
        i[4] = np.array(lens, np.int32)
        add(nodes, op, i, direction="bidirectional", layout=layout)
    nodes.check(ulps=8, atol=1e-5)


def test_refusals():
    i = tensors("LSTM", 3, 2, 4, 5, 1, full=False)
    refuses(Nodes(14).add("LSTM", i, [i[0]], hidden_size=6), "hidden_size")
    refuses(Nodes(14).add("LSTM", i, [i[0]], direction="bidirectional"), "W")
    refuses(Nodes(14).add("LSTM", i, [i[0]], activations=["Sine", "Tanh", "Tanh"]), "Sine")
    for lens in [4, 1], [-1, 1], [1, 1, 1]:
        refuses(Nodes(14).add("LSTM", [*i, None, np.array(lens, np.int32)], [i[0]]), "sequence")
