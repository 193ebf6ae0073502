"""infold inspect knows normalizations, written-out ones too, and whose statistics they use: where those are not of the
batch, a sample's result is the same with and without company."""

import json

import bn
import numpy as np
import pytest
from bn import constants, model, node, parameters, trained

R = np.random.default_rng(0)


def op(op_type, inputs, outputs=("y",), **attributes):
    return node(op_type, list(inputs), list(outputs), **attributes)


def floats(**arrays):
    return constants(**{k: np.float32(v) for k, v in arrays.items()})


def made(nodes, init=(), shape=("N", 8, 4, 6), opset=17):
    return model(nodes, list(init), list(shape), opset)


def moments_over(axes, opset=17, power=True):
    """ReduceMean, Sub, Pow (or Mul), ReduceMean, Add, Sqrt, Div: as PyTorch writes a layer normalization."""
    square = op("Pow", ["d", "two"], ["s"]) if power else op("Mul", ["d", "d"], ["s"])
    nodes = [op("ReduceMean", ["x"], ["m"], axes=axes), op("Sub", ["x", "m"], ["d"]), square,
             op("ReduceMean", ["s"], ["v"], axes=axes), op("Add", ["v", "eps"], ["e"]), op("Sqrt", ["e"], ["r"]),
             op("Div", ["d", "r"])]
    return nodes, floats(two=2, eps=1e-5)


def by_mean_of_squares():
    """mean(x²) − mean(x)², a bound, rsqrt, and a product: as TensorFlow and JAX do."""
    nodes = [op("Mul", ["x", "x"], ["q"]), op("ReduceSum", ["q", "axes"], ["t"], keepdims=0),
             op("Mul", ["t", "sixth"], ["u"]), op("ReduceMean", ["x"], ["m"], axes=[3], keepdims=0),
             op("Mul", ["m", "m"], ["w"]), op("Sub", ["u", "w"], ["z"]), op("Max", ["z", "zero"], ["v"]),
             op("Unsqueeze", ["v", "axes"], ["v1"]), op("Add", ["v1", "eps"], ["e"]), op("Sqrt", ["e"], ["r"]),
             op("Reciprocal", ["r"], ["i"]), op("Unsqueeze", ["m", "axes"], ["m1"]), op("Sub", ["x", "m1"], ["d"]),
             op("Mul", ["d", "i"])]
    return nodes, [*floats(sixth=1 / 6, zero=0, eps=1e-5), *constants(axes=np.int64([3]))]


def root_mean_square(exponent=None):
    root = [op("Sqrt", ["e"], ["r"]), op("Div", ["x", "r"])] if exponent is None else [
        op("Pow", ["e", "power"], ["r"]), op("Mul", ["x", "r"])]
    nodes = [op("Pow", ["x", "two"], ["s"]), op("ReduceMean", ["s"], ["v"], axes=[-1]), op("Add", ["v", "eps"], ["e"])]
    return nodes + root, floats(two=2, eps=1e-5, power=exponent or 0)


def groups():
    nodes = [op("Reshape", ["x", "split"], ["g"]), op("InstanceNormalization", ["g", "one", "zero"], ["n"]),
             op("Reshape", ["n", "back"])]
    return nodes, [*floats(one=np.ones(4), zero=np.zeros(4)),
                   *constants(split=np.int64([0, 4, -1]), back=np.int64([-1, 8, 4, 6]))]


def unit_length(p, axes, between):
    nodes = [op(f"ReduceL{p}", ["x"], ["l"], axes=axes)]
    nodes += {"Clip": [op("Clip", ["l", "eps"], ["c"])], "Max": [op("Max", ["l", "eps"], ["c"])],
              "": [op("Identity", ["l"], ["c"])]}[between]
    return nodes + [op("Div", ["x", "c" if between else "l"])], floats(eps=1e-12)


def affine(order):
    shape = (8, 1, 1)
    init = floats(w=R.normal(size=(8, 8, 1, 1)), a=R.uniform(0.5, 2, shape), b=R.normal(size=shape),
                  c=R.uniform(0.5, 2, (1, *shape)), d=R.normal(size=shape))
    values = ["t0", *(f"t{i + 1}" for i in range(len(order) - 1)), "y"]
    nodes = [op("Conv", ["x", "w"], ["t0"])]
    nodes += [op(o, [i, c], [t]) for o, i, c, t in zip(order, values, "abcd", values[1:])]
    return nodes, init


def batch_norm(**attributes):
    init, names = parameters(trained(8))
    return [op("BatchNormalization", ["x", *names], attributes.pop("outputs", ["y"]), **attributes)], init


def scaled(op_type, n=1, **attributes):
    return [op(op_type, ["x", "s", "b"][:n], **attributes)], floats(s=R.uniform(0.5, 2, 8 if n == 3 else 6), b=R.normal(size=8))


SAMPLE, BATCH, GIVEN = "of the sample", "of the batch", "given"
CASES = {
    "batch, inference": (batch_norm(), "BatchNormalization", "each channel", GIVEN, False),
    "batch, training": (batch_norm(training_mode=1, outputs=["y", "m", "v"]), "BatchNormalization", "axes 0,2,3", BATCH,
                        False),
    "instance": (scaled("InstanceNormalization", 3), "InstanceNormalization", "axes 2,3", SAMPLE, False),
    "group": (([op("GroupNormalization", ["x", "s", "b"], num_groups=4)], floats(s=R.normal(size=8), b=R.normal(size=8))),
              "GroupNormalization", "4 groups of channels", SAMPLE, False),
    "layer": (scaled("LayerNormalization", 2), "LayerNormalization", "axis 3", SAMPLE, False),
    "layer of two axes": (([op("LayerNormalization", ["x", "s"], axis=2)], floats(s=R.normal(size=(4, 6)))),
                          "LayerNormalization", "axes 2,3", SAMPLE, False),
    "rms": (scaled("RMSNormalization", 2), "RMSNormalization", "axis 3", SAMPLE, False),
    "lp": (scaled("LpNormalization", p=1, axis=1), "LpNormalization", "axis 1, p = 1", SAMPLE, False),
    "lp over the batch": (scaled("LpNormalization", axis=0), "LpNormalization", "axis 0, p = 2", BATCH, False),
    "mean and variance": (scaled("MeanVarianceNormalization"), "MeanVarianceNormalization", "axes 0,2,3", BATCH, False),
    "mean and variance of a sample": (scaled("MeanVarianceNormalization", axes=[1, -1]), "MeanVarianceNormalization",
                                      "axes 1,3", SAMPLE, False),
    "lrn": (scaled("LRN", size=3), "LRN", "3 channels", SAMPLE, False),
    "layer written out": (moments_over([-1]), "LayerNormalization", "axis 3", SAMPLE, True),
    "layer by Mul": (moments_over([3], power=False), "LayerNormalization", "axis 3", SAMPLE, True),
    "channels first": (moments_over([1]), "LayerNormalization", "axis 1", SAMPLE, True),
    "instance written out": (moments_over([2, 3]), "InstanceNormalization", "axes 2,3", SAMPLE, True),
    "batch written out": (moments_over([0, 2, 3]), "BatchNormalization", "axes 0,2,3", BATCH, True),
    "mean of squares": (by_mean_of_squares(), "LayerNormalization", "axis 3", SAMPLE, True),
    "rms written out": (root_mean_square(), "RMSNormalization", "axis 3", SAMPLE, True),
    "rms by Pow": (root_mean_square(-0.5), "RMSNormalization", "axis 3", SAMPLE, True),
    "groups written out": (groups(), "GroupNormalization", "4 groups of channels", SAMPLE, True),
    "unit length": (unit_length(2, [1], "Clip"), "LpNormalization", "axis 1, p = 2", SAMPLE, True),
    "unit length by Max": (unit_length(2, [1, 2], "Max"), "LpNormalization", "axes 1,2, p = 2", SAMPLE, True),
    "unit sum": (unit_length(1, [-1], ""), "LpNormalization", "axis 3, p = 1", SAMPLE, True),
    "Mul, Add": (affine(["Mul", "Add"]), "BatchNormalization", "each channel", GIVEN, True),
    "Sub, Div, Mul, Add": (affine(["Sub", "Div", "Mul", "Add"]), "BatchNormalization", "each channel", GIVEN, True),
}
# A deviation that divides nothing, squares that are summed, a scale without a shift, γ and β of the last axis.
NOTHING = {
    "a deviation as output": ([*moments_over([-1])[0][:5], op("Sqrt", ["e"])], moments_over([-1])[1]),
    "an error": ([op("Mul", ["x", "x"], ["s"]), op("ReduceMean", ["s"], axes=[3])], []),
    "a root of a sum": ([op("Mul", ["x", "x"], ["s"]), op("ReduceMean", ["x"], ["v"], axes=[3]), op("Abs", ["v"], ["u"]),
                         op("Sqrt", ["u"], ["r"]), op("Div", ["s", "r"])], []),
    "a scale": affine(["Mul"]),
    "a shift": affine(["Add"]),
    "the last axis": ([op("Relu", ["x"], ["t"]), op("Mul", ["t", "a"], ["u"]), op("Add", ["u", "b"])],
                      floats(a=R.normal(size=6), b=R.normal(size=6))),
    "another norm": ([op("ReduceL2", ["x"], ["l"], axes=[1]), op("Abs", ["x"], ["a"]), op("Div", ["a", "l"])], []),
}


def inspected(nodes, init, folder):
    opset = {"RMSNormalization": 23, "GroupNormalization": 21}.get(nodes[0].op_type, 17)
    path = bn.save(made(nodes, init, opset=opset), folder / "model.onnx")
    return path, json.loads(bn.infold("inspect", path, "--json").stdout)["normalization"]


def alone_and_in_company(path, folder):
    """Whether the first of three samples gets the same result alone."""
    x = R.normal(1, 2, (3, 8, 4, 6)).astype(np.float32)
    results = []
    for n in (3, 1):
        np.savez(folder / "x.npz", x=x[:n])
        bn.infold("run", path, "--inputs", folder / "x.npz", "--output", folder / "y.npz", "--output-names", "y")
        results.append(np.load(folder / "y.npz")["y"][0])
    return results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize("name", CASES)
def test_normalization(name, tmp_path):
    (nodes, init), label, over, statistics, written_out = CASES[name]
    path, norms = inspected(nodes, init, tmp_path)
    found, = norms
    assert (found["normalization"], found["over"], found["statistics"]) == (label, over, statistics)
    assert found["written_out"] == written_out and found["mixes_batch"] == (statistics == BATCH)
    assert alone_and_in_company(path, tmp_path) == (statistics != BATCH)


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_none(name, tmp_path):
    assert inspected(*NOTHING[name], tmp_path)[1] == []
