"""Random operators: seeded ones draw what numpy.random.RandomState draws, others what their law says."""
import numpy as np
import pytest
from onnx import TensorProto

from nodes import Nodes, refuses, versions_of

SEED = 42
SHAPE = (40, 50)


@pytest.mark.parametrize("version", versions_of("RandomNormal"))
def test_seeded(version):
    draw = np.random.RandomState
    x = np.zeros(SHAPE, np.float64)
    Nodes(version) \
        .add("RandomNormal", [], [draw(SEED).randn(*SHAPE) * 2 + 1], shape=SHAPE, seed=float(SEED), mean=1., scale=2., dtype=11) \
        .add("RandomNormalLike", [x], [draw(SEED).randn(*SHAPE)], seed=float(SEED)) \
        .add("RandomUniform", [], [draw(7).rand(3, 5).astype(np.float32)], shape=[3, 5], seed=7.) \
        .add("RandomUniformLike", [x], [draw(SEED).rand(*SHAPE) * 3 - 1], seed=float(SEED), low=-1., high=2.) \
        .add("RandomUniformLike", [x], [draw(0).rand(*SHAPE).astype(np.float16)], seed=0., dtype=10) \
        .check(ulps=4, atol=1e-15)


@pytest.mark.parametrize("version", versions_of("Bernoulli"))
def test_bernoulli(version):
    p = np.random.default_rng(1).uniform(0, 1, SHAPE)
    p[0, :3] = 0, 1, .5
    y = np.random.RandomState(SEED).binomial(1, p)
    Nodes(version).add("Bernoulli", [p], [y.astype(np.float64)], seed=float(SEED)) \
        .add("Bernoulli", [p], [y.astype(bool)], seed=float(SEED), dtype=TensorProto.BOOL) \
        .add("Bernoulli", [np.full(SHAPE, .25)], [lambda a: abs(a.mean() - .25) < .06]).check()
    for bad in 1.5, -.1, np.nan:
        refuses(Nodes(version).add("Bernoulli", [np.array([bad])], [p]), "probability")


def test_unseeded_moments():
    Nodes(22).add("RandomNormal", [], [lambda a: abs(a.mean() - 3) < .1 and abs(a.std() - 2) < .1], shape=[100, 100], mean=3., scale=2.) \
        .add("RandomUniform", [], [lambda a: abs(a.mean() - 5) < .1 and a.min() >= 4 and a.max() < 6], shape=[100, 100], low=4., high=6.) \
        .check()
    nodes = Nodes(22).add("RandomNormal", [], [lambda a: True], shape=[50]).add("RandomNormal", [], [lambda a: True], shape=[50])
    first, second = nodes.run()
    assert not (first == second).any()


def test_multinomial():
    p = np.array([[.1, .2, .7, 0], [.25, .25, .25, .25]])
    with np.errstate(divide="ignore"):
        logits = np.log(p) + np.array([[3.], [-5.]])

    def follows(a):
        counts = np.stack([(a == k).mean(1) for k in range(4)], 1)
        return a.shape == (2, 4000) and np.abs(counts - p).max() < .04 and counts[0, 3] == 0
    Nodes(22).add("Multinomial", [logits], [follows], sample_size=4000, seed=3., dtype=7) \
        .add("Multinomial", [logits], [lambda a: a.dtype == np.int32 and follows(a)], sample_size=4000).check()
    refuses(Nodes(22).add("Multinomial", [logits[0]], [p]), "batch")
    refuses(Nodes(22).add("Multinomial", [logits], [p], sample_size=-1))


def test_dropout_versions():
    x = np.random.default_rng(2).normal(size=SHAPE)
    ones = np.ones(SHAPE)
    Nodes(6).add("Dropout", [x], [x, ones], is_test=1).check()
    Nodes(7).add("Dropout", [x], [x, ones], ratio=.9).check()
    Nodes(10).add("Dropout", [x], [x, ones.astype(bool)]).check()
    kept = np.random.RandomState(SEED).uniform(0, 1, SHAPE) >= .25
    training = Nodes(13).add("Dropout", [x, np.float64(.25), np.bool_(True)], [x * kept / .75, kept], seed=SEED) \
        .add("Dropout", [x, np.float64(.25), np.bool_(False)], [x, ones.astype(bool)], seed=SEED) \
        .add("Dropout", [x, np.float64(0), np.bool_(True)], [x, ones.astype(bool)]).add("Dropout", [x], [x]) \
        .add("Dropout", [x, None, np.bool_(True)], [lambda a: abs((a == 0).mean() - .5) < .06])
    training.check(ulps=2)
    for bad in 1., -.5, np.nan:
        refuses(Nodes(13).add("Dropout", [x, np.float64(bad), np.bool_(True)], [x]), "ratio")
    Nodes(1).add("Dropout", [x], [lambda a: abs((a == 0).mean() - .5) < .06 and np.allclose(a[a != 0], 2 * x[a != 0])]).check()
