"""Gradient of ai.onnx.preview.training, against differences."""
import numpy as np
import pytest

from test_control import F, refuses, run, same


def model(signature, body, opset=13):
    return (f'<ir_version: 10, opset_import: ["" : {opset}, "ai.onnx.preview.training" : 1]> g {signature} {{ {body} }}')


def difference(f, xs, i, step=1e-4):
    """d sum(f) / d xs[i], in double."""
    out = np.zeros(xs[i].shape)
    for at in np.ndindex(*xs[i].shape):
        moved = [np.array(x, np.float64) for x in xs]
        moved[i][at] += step
        high = np.sum(f(*moved))
        moved[i][at] -= 2 * step
        out[at] = (high - np.sum(f(*moved))) / (2 * step)
    return out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


CASES = {
    "Add(a, b)": lambda a, b: a + b, "Sub(a, b)": lambda a, b: a - b, "Mul(a, b)": lambda a, b: a * b,
    "Div(a, b)": lambda a, b: a / b, "Pow(a, b)": lambda a, b: a ** b,
}
ONE = {
    "Abs": np.abs, "Cos": np.cos, "Exp": np.exp, "Log": np.log, "Neg": np.negative, "Reciprocal": lambda x: 1 / x,
    "Relu": lambda x: np.maximum(x, 0), "Sigmoid": sigmoid, "Sin": np.sin, "Softplus": lambda x: np.log1p(np.exp(x)),
    "Sqrt": np.sqrt, "Tanh": np.tanh, "Identity": lambda x: x,
}


@pytest.mark.parametrize("opset", (8, 13, 18))
@pytest.mark.parametrize("shapes", (((2, 3), (2, 3)), ((2, 3), (3,)), ((1, 3), (2, 1)), ((), (2, 2))))
def test_two_inputs(opset, shapes):
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(.5, 2, s).astype(F) for s in shapes)
    t = ["float" + ("[" + ",".join(map(str, s)) + "]" if s else "") for s in shapes]
    for text, f in CASES.items():
        got = run(model(f"({t[0]} a, {t[1]} b) => ({t[0]} da, {t[1]} db)",
                        f'y = {text} da, db = ai.onnx.preview.training.Gradient<xs = ["a", "b"], y = "y">(a, b)', opset), a, b)
        for i in 0, 1:
            assert got[i].shape == shapes[i], text
            np.testing.assert_allclose(got[i], difference(f, [a, b], i), rtol=2e-3, atol=1e-4, err_msg=text)


def test_one_input():
    a = np.random.default_rng(2).uniform(.3, 2, (2, 3)).astype(F)
    for op, f in ONE.items():
        got = run(model("(float[2,3] a) => (float[2,3] d)",
                        f'y = {op}(a) d = ai.onnx.preview.training.Gradient<xs = ["a"], y = "y">(a)'), a)[0]
        np.testing.assert_allclose(got, difference(f, [a], 0), rtol=2e-3, atol=1e-4, err_msg=op)


NET = """h = MatMul(x, w) r = Tanh(h) k = Add(r, b) s = Mul(k, k) y = ReduceSum<keepdims = 0>(s)"""
TYPES = "(float[4,3] x, float[3,2] w, float[2] b{}) => (float[3,2] dw, float[2] db{})"


def net(x, w, b):
    return np.sum((np.tanh(x @ w) + b) ** 2)


@pytest.mark.parametrize("options", ((), ("--no-optimize",), ("--backend", "ref")))
def test_network(options):
    rng = np.random.default_rng(3)
    x, w, b = (rng.standard_normal(s).astype(F) for s in ((4, 3), (3, 2), (2,)))
    grad = 'dw, db = ai.onnx.preview.training.Gradient<xs = ["w", "b"], zs = ["x"], y = "y">({}, {}, x)'
    got = run(model(TYPES.format("", ""), NET + grad.format("w", "b")), x, w, b, options=options)
    for i in 1, 2:
        np.testing.assert_allclose(got[i - 1], difference(net, [x, w, b], i), rtol=2e-3, atol=1e-3)
    # at other values than those that y is computed from
    other, got = [-w, b * 2], run(model("(float[4,3] x, float[3,2] w, float[2] b, float[3,2] u, float[2] v) => (float[3,2] dw, float[2] db, float y)",
                                        NET + grad.format("u", "v")), x, w, b, -w, b * 2, options=options)
    for i in 1, 2:
        np.testing.assert_allclose(got[i - 1], difference(net, [x, *other], i), rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(got[2], net(x, w, b), rtol=1e-5)


def test_second_order():
    a = F([.5, -1, 2])
    got = run(model("(float[3] a) => (float[3] d, float[3] e)", """s = Mul(a, a) y = Mul(s, a)
        d = ai.onnx.preview.training.Gradient<xs = ["a"], y = "y">(a)
        e = ai.onnx.preview.training.Gradient<xs = ["a"], y = "d">(a)"""), a)
    np.testing.assert_allclose(got[0], 3 * a * a, rtol=1e-6)
    np.testing.assert_allclose(got[1], 6 * a, rtol=1e-6)


def test_what_does_not_depend():
    a, b = F([1, 2]), F([3, 4])
    got = run(model("(float[2] a, float[2] b) => (float[2] da, float[2] db)", """y = Neg(a)
        da, db = ai.onnx.preview.training.Gradient<xs = ["a", "b"], y = "y">(a, b)"""), a, b)
    same(got, [F([-1, -1]), F([0, 0])])


def test_refuses():
    a = F([1, 2])
    grad = 'd = ai.onnx.preview.training.Gradient<xs = ["a"], y = "{}">(a)'
    refuses(model("(float[2] a) => (float[2] d)", "y = Erf(a) " + grad.format("y")), [a], "derivative of Erf")
    refuses(model("(float[2] a) => (float[2] d)", "y = Neg(a) " + grad.format("z")), [a], "'z'")
    refuses(model("(float[N] a, float[M] b) => (float[N] d)", "y = Add(a, b) " + grad.format("y")), [a, a], "broadcast")
