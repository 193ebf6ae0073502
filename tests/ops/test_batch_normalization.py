"""BatchNormalization of every version against the formula in float64 NumPy: y = scale (x - mean) / sqrt(var + epsilon) + B.

The command is $INFOLD_BIN, or what nodes.py says."""
import itertools
import os

import ml_dtypes
import numpy as np
import pytest

if "INFOLD_BIN" in os.environ:
    os.environ.setdefault("INFOLD", os.environ["INFOLD_BIN"])
from nodes import Nodes, dtypes_of, refuses, versions_of  # noqa: E402

VERSIONS = [1, 6, 7, 9, 14, 15]
SHAPES = [(3, 4), (2, 3, 5), (2, 3, 4, 5), (3, 2, 2, 3, 4), (2, 3, 1, 2, 2, 2)]
F16, BF16, F32, F64 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64)


def test_versions_are_all():
    assert versions_of("BatchNormalization") == VERSIONS


def parameters(rng, shape, dtype, types=None):
    """scale, B, mean, var of the shape; types: those of (scale and B, mean and var)."""
    t1, t2 = types or (dtype, dtype)
    return [rng.uniform(.5, 2, shape).astype(t1), rng.uniform(-2, 2, shape).astype(t1),
            rng.uniform(-1, 1, shape).astype(t2), rng.uniform(.1, 3, shape).astype(t2)]


def along_channels(p, x, spatial=True):
    """A parameter as it broadcasts over x."""
    p = p.astype(np.float64)
    if not spatial:
        return p.reshape(1, *x.shape[1:])
    return p if x.ndim == 1 else p.reshape(1, -1, *[1] * (x.ndim - 2))


def normalize(x, scale, bias, mean, var, epsilon, spatial=True):
    s, b, m, v = (along_channels(p, x, spatial) for p in (scale, bias, mean, var))
    return (s * (x.astype(np.float64) - m) / np.sqrt(v + epsilon) + b).astype(x.dtype)


def train(x, scale, bias, mean, var, epsilon, momentum, spatial=True):
    """y, running mean, running variance, mean and variance of the batch; population variance."""
    axes = (0,) if not spatial else tuple(i for i in range(x.ndim) if i != 1 or x.ndim == 1)
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        m = np.reshape(wide.sum(axes) / (wide.size / mean.size), mean.shape)
        centred = wide - along_channels(m, x, spatial)
        v = np.reshape((centred ** 2).sum(axes) / (wide.size / mean.size), var.shape)
    y = normalize(x, scale, bias, m, v, epsilon, spatial)
    running = [(old.astype(np.float64) * momentum + new * (1 - momentum)).astype(old.dtype)
               for old, new in ((mean, m), (var, v))]
    return [y, *running, m.astype(mean.dtype), v.astype(var.dtype)]


def check(nodes, atol=1e-12):
    """By the reference each number is the nearest, but for the order of sums; kernels compute in float32."""
    run = nodes.run
    nodes.check(ulps=4, atol=4e-6)
    nodes.run = lambda: run("--backend", "ref")
    nodes.check(ulps=1, atol=atol)


def single(value):
    """An attribute's value as the file holds it."""
    return float(np.float32(value))


def attributes(version, training, spatial=True, **more):
    a = dict(more)
    if version == 1:
        a["consumed_inputs"] = [0, 0, 0, 1, 1]
    if version < 7:
        a["is_test"] = int(not training)
    if version >= 14:
        a["training_mode"] = int(training)
    if not spatial:
        a["spatial"] = 0
    return a


def values(rng, shape, dtype):
    return rng.uniform(-3, 3, shape).astype(dtype)


@pytest.mark.parametrize("version", VERSIONS)
def test_inference(version):
    rng = np.random.default_rng(version)
    nodes = Nodes(version)
    for dtype, shape in itertools.product(dtypes_of("BatchNormalization", version), SHAPES):
        x, p = values(rng, shape, dtype), parameters(rng, shape[1:2], dtype)
        nodes.add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5))], **attributes(version, False))
        nodes.add("BatchNormalization", [x, *p], [normalize(x, *p, single(.3))],
                  **attributes(version, False, epsilon=.3, momentum=.5))
    check(nodes)


@pytest.mark.parametrize("version", VERSIONS)
def test_training(version):
    """Outputs: all, in every version; and only some of them where they do not decide the mode."""
    rng = np.random.default_rng(version)
    nodes, n = Nodes(version), 3 if version >= 14 else 5
    for dtype, shape in itertools.product(dtypes_of("BatchNormalization", version), SHAPES):
        x, p = values(rng, shape, dtype), parameters(rng, shape[1:2], dtype)
        factors = (.9, 1e-5), (.25, 1e-2), (0., 1.), (1., 1e-5)
        for momentum, epsilon in factors if dtype == F32 and len(shape) == 4 else factors[:1]:
            e = train(x, *p, single(epsilon), single(momentum))[:n]
            a = attributes(version, True, momentum=momentum, epsilon=epsilon)
            nodes.add("BatchNormalization", [x, *p], e, **a)
            nodes.add("BatchNormalization", [x, *p], [e[0], None, e[2]], **a)
            if not 7 <= version < 14:
                nodes.add("BatchNormalization", [x, *p], e[:1], **a)
    check(nodes, 1e-9)


def test_outputs_decide_the_mode_in_7_and_9():
    rng = np.random.default_rng(0)
    x, p = values(rng, (4, 3, 2), F32), parameters(rng, (3,), F32)
    by_batch, by_given = train(x, *p, single(1e-5), single(.9)), normalize(x, *p, single(1e-5))
    assert abs(by_batch[0] - by_given).max() > .1
    for version in 7, 9:
        nodes = Nodes(version)
        nodes.add("BatchNormalization", [x, *p], [by_given])
        for i in range(1, 5):
            nodes.add("BatchNormalization", [x, *p], [by_batch[0], *[None] * (i - 1), by_batch[i]])
        check(nodes, 1e-9)


def test_default_is_training_in_1_and_6_and_inference_since_14():
    rng = np.random.default_rng(1)
    x, p = values(rng, (4, 3, 2), F32), parameters(rng, (3,), F32)
    y = {True: train(x, *p, single(1e-5), single(.9))[0], False: normalize(x, *p, single(1e-5))}
    for version in VERSIONS:
        a = {"consumed_inputs": [0, 0, 0, 1, 1]} if version == 1 else {}
        check(Nodes(version).add("BatchNormalization", [x, *p], [y[version < 7]], **a), 1e-9)


@pytest.mark.parametrize("version", [1, 6, 7])
def test_a_parameter_for_each_element(version):
    """spatial=0."""
    rng = np.random.default_rng(version)
    nodes = Nodes(version)
    for shape in SHAPES:
        x = values(rng, shape, F32)
        p = parameters(rng, shape[1:] if version == 7 else (int(np.prod(shape[1:])),), F32)
        nodes.add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5), False)],
                  **attributes(version, False, False))
        nodes.add("BatchNormalization", [x, *p], train(x, *p, single(1e-5), single(.9), False),
                  **attributes(version, True, False))
    check(nodes, 1e-9)


@pytest.mark.parametrize("version", [1, 6, 7])
def test_parameters_of_channels_beside_spatial_0(version):
    """As MXNet's exporter writes them."""
    rng = np.random.default_rng(version)
    nodes = Nodes(version)
    for shape in (2, 3, 4, 5), (2, 3, 5):
        x, p = values(rng, shape, F32), parameters(rng, (3,), F32)
        nodes.add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5))], **attributes(version, False, False))
    check(nodes, 1e-9)


def test_one_dimension_is_a_batch_of_one_channel():
    rng = np.random.default_rng(2)
    x, p = values(rng, (7,), F32), parameters(rng, (1,), F32)
    for version in 9, 14, 15:
        nodes = Nodes(version).add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5))])
        n = 5 if version == 9 else 3
        nodes.add("BatchNormalization", [x, *p], train(x, *p, single(1e-5), single(.9))[:n],
                  **attributes(version, True))
        check(nodes, 1e-9)


@pytest.mark.parametrize("version", [14, 15])
def test_mixed_types(version):
    """14: mean and variance have a type of their own; 15: scale and B have another."""
    rng = np.random.default_rng(version)
    nodes = Nodes(version)
    types = dtypes_of("BatchNormalization", version)
    for t, t1, t2 in itertools.product(types, types, types):
        if version == 14 and t1 != t:
            continue
        x, p = values(rng, (3, 2, 4), t), parameters(rng, (2,), t, (t1, t2))
        nodes.add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5))])
        nodes.add("BatchNormalization", [x, *p], train(x, *p, single(1e-5), single(.9))[:3], training_mode=1)
    check(nodes, 1e-9)


def test_statistics_are_in_double():
    """A mean far from zero: in single precision the variance would be lost, in half the sum."""
    rng = np.random.default_rng(3)
    nodes = Nodes(15)
    for dtype, offset, spread, shape in (F32, 4e4, 1, (64, 2, 99)), (F16, 1e3, 50, (256, 2, 40)), (F64, 1e6, 1, (9, 2)):
        x = (offset + spread * rng.standard_normal(shape)).astype(dtype)
        p = parameters(rng, (2,), F64)
        nodes.add("BatchNormalization", [x, *p], train(x, *p, single(1e-5), single(.9))[:3], training_mode=1)
    check(nodes, 1e-6)


def test_batches_of_one_and_of_none():
    rng = np.random.default_rng(4)
    p = parameters(rng, (3,), F32)
    for version in VERSIONS:
        nodes, n = Nodes(version), 3 if version >= 14 else 5
        one, none = values(rng, (1, 3, 1, 1), F32), np.zeros((0, 3, 2, 2), F32)
        alone = train(one, *p, single(1e-5), single(.9))
        assert (alone[0].ravel() == p[1]).all() and (alone[4] == 0).all()
        nodes.add("BatchNormalization", [one, *p], alone[:n], **attributes(version, True))
        for x in one, none, np.zeros((2, 3, 0), F32):
            nodes.add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5))], **attributes(version, False))
        empty = train(none, *p, single(1e-5), single(.9))[:n]
        assert np.isnan(empty[1]).all()  # a mean of nothing
        nodes.add("BatchNormalization", [none, *p], empty, **attributes(version, True))
        check(nodes)


def test_a_sample_is_the_same_in_any_batch():
    rng = np.random.default_rng(5)
    x, p = values(rng, (5, 3, 4, 4), F32), parameters(rng, (3,), F32)
    whole = Nodes(15).add("BatchNormalization", [x, *p], [normalize(x, *p, single(1e-5))]).run()[0]
    for i in range(5):
        alone = Nodes(15).add("BatchNormalization", [x[i:i + 1], *p], [x]).run()[0]
        assert (alone[0] == whole[i]).all()


def test_refusals():
    x, p = np.zeros((2, 3, 4), F32), [np.ones(3, F32)] * 4
    refuses(Nodes(15).add("BatchNormalization", [x, p[0], p[0], np.ones(4, F32), p[0]], [x]), "4", "3")
    refuses(Nodes(15).add("BatchNormalization", [x, *p], [x, p[0], p[0]]), "training")
    refuses(Nodes(15).add("BatchNormalization", [np.float32(1), *p], [x]), "scalar")
