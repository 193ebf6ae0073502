"""Losses, determinants and Col2Im, against NumPy."""
import itertools

import numpy as np
import pytest

from nodes import Nodes, dtypes_of, refuses, samples, versions_of

RNG = np.random.default_rng(4)


def loss(log_p, target, weight, reduction, ignored):
    c = log_p.shape[1]
    keep = target != ignored if ignored is not None else np.ones(target.shape, bool)
    at = np.where(keep, target, 0)
    w = (np.ones(c) if weight is None else weight)[at] * keep
    y = -np.take_along_axis(log_p, at[:, None], 1)[:, 0] * w
    return {"none": y, "sum": y.sum(), "mean": y.sum() / w.sum() if w.sum() else np.nan}[reduction]


@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_loss(op):
    for version in versions_of(op):
        nodes, floats = Nodes(version), Nodes(version)
        for dtype, shape, reduction, ignored, weighted in itertools.product(
                dtypes_of(op, version), [(5, 4), (3, 4, 6), (2, 4, 3, 2)], ["none", "sum", "mean"], [None, 2, -100], [0, 1]):
            x = RNG.uniform(-3, 0, shape).astype(dtype)
            target = RNG.integers(0, 4, shape[:1] + shape[2:])
            if ignored == -100:
                target[0] = -100
            weight = RNG.uniform(.5, 2, 4).astype(dtype) if weighted else None
            f = x.astype(np.float64)
            log_p = f if op[0] == "N" else f - np.log(np.exp(f).sum(1, keepdims=True))
            y = loss(log_p, target, None if weight is None else weight.astype(np.float64), reduction, ignored)
            inputs = [x, target.astype(RNG.choice([np.int32, np.int64]))] + ([weight] if weighted else [])
            attrs = {} if ignored is None else {"ignore_index": ignored}
            want = [np.asarray(y).astype(dtype)] + ([log_p.astype(dtype)] if op[0] == "S" else [])
            fast = op[0] == "S" and dtype == np.float32
            (floats if fast else nodes).add(op, inputs, want, reduction=reduction, **attrs)
            if fast:
                floats.add(op, inputs, want[:1], reduction=reduction, **attrs)
        nodes.check(ulps=2, atol=1e-12)
        if floats.nodes:  # softmax in float
            floats.check(ulps=4, atol=1e-6)


def test_loss_refused():
    x, w = np.zeros((3, 4)), np.ones(4)
    for inputs, attrs, word in (([x, np.array([0, 1, 4])], {}, "target 4"), ([x, np.array([0, -1, 2])], {"ignore_index": 3}, "target -1"),
                                ([x, np.array([0, 1])], {}, "fit"), ([x, np.array([0, 1, 2]), w[:3]], {}, "weight"),
                                ([x, np.array([0, 1, 2])], {"reduction": "max"}, "reduction"), ([w, np.array(0)], {}, "rank")):
        refuses(Nodes(13).add("NegativeLogLikelihoodLoss", inputs, [x], **attrs), word)


def test_det():
    nodes = Nodes(22)
    for shape in (1, 1), (2, 2), (5, 5), (3, 2, 4, 4), (2, 0, 3, 3), (2, 0, 0):
        x = RNG.normal(size=shape)
        nodes.add("Det", [x], [np.linalg.det(x)]).add("Det", [x.astype(np.float32)], [np.linalg.det(x.astype(np.float32).astype(np.float64)).astype(np.float32)])
    nodes.add("Det", [np.array([[0., 1], [1, 0]])], [np.array(-1.)]).add("Det", [np.ones((3, 3))], [np.array(0.)])
    nodes.check(ulps=32, atol=1e-12)
    refuses(Nodes(22).add("Det", [np.ones((2, 3))], [np.array(0.)]), "square")


def col2im(x, image, block, strides, dilations, pads):
    k = len(image)
    n, c = x.shape[0], x.shape[1] // int(np.prod(block))
    y = np.zeros((n, c, *(i + pads[d] + pads[k + d] for d, i in enumerate(image))), x.dtype if x.dtype.kind == "c" else object)
    counts = [(i + pads[d] + pads[k + d] - dilations[d] * (block[d] - 1) - 1) // strides[d] + 1 for d, i in enumerate(image)]
    x = x.reshape(n, c, *block, *counts)
    for b in np.ndindex(*block):
        for l in np.ndindex(*counts):
            at = tuple(l[d] * strides[d] + b[d] * dilations[d] for d in range(k))
            y[(slice(None), slice(None), *at)] += x[(slice(None), slice(None), *b, *l)]
    return y[(slice(None), slice(None), *(slice(pads[d], pads[d] + image[d]) for d in range(k)))], int(np.prod(counts))


CASES = [((5, 6), (2, 3), (1, 1), (1, 1), (0, 0, 0, 0)), ((5, 5), (1, 5), (2, 1), (1, 1), (1, 0, 2, 1)),
         ((6, 7), (2, 2), (2, 3), (3, 2), (1, 1, 0, 2)), ((3, 4, 5), (2, 1, 3), (1, 2, 1), (1, 1, 2), (1, 0, 1, 0, 1, 1)), ((9,), (3,), (2,), (1,), (1, 1))]


@pytest.mark.parametrize("image,block,strides,dilations,pads", CASES)
def test_col2im(image, block, strides, dilations, pads):
    nodes = Nodes(18)
    size = 3 * int(np.prod(block))
    _, n = col2im(np.zeros((2, size, int(np.prod([(i + pads[d] + pads[len(image) + d] - dilations[d] * (block[d] - 1) - 1) // strides[d] + 1 for d, i in enumerate(image)])))),
                  image, block, strides, dilations, pads)
    for dtype in dtypes_of("Col2Im", 18):
        if dtype.kind == "c":
            x = (RNG.integers(-4, 5, (2, size, n)) + 1j * RNG.integers(-4, 5, (2, size, n))).astype(dtype)
        elif dtype.kind in "OU":
            continue
        else:
            x = np.round(samples(dtype, (2, size, n), RNG, -4, 4).astype(np.float64)).astype(dtype)
        wide = x if dtype.kind == "c" else x.astype(np.int64)
        y, _ = col2im(wide, image, block, strides, dilations, pads)
        y = y if dtype.kind == "c" else np.array(y, np.int64)
        nodes.add("Col2Im", [x, np.array(image), np.array(block)], [(y != 0) if dtype == bool else y.astype(dtype)],
                  strides=strides, dilations=dilations, pads=pads)
    nodes.check()


def test_col2im_refused():
    x, image, block = np.zeros((1, 8, 9)), np.array([4, 4]), np.array([2, 2])
    for inputs, attrs, word in (([x, image, block[:1]], {}, "elements"), ([x, image + 1, block], {}, "blocks"), ([x[0], image, block], {}, "rank"),
                                ([x, image, block], {"strides": [0, 1]}, "strides"), ([x, image, block], {"pads": [0, 0]}, "pads"),
                                ([x, image * 0, block], {}, "size"), ([x, image, block * 0 - 1], {}, "size")):
        refuses(Nodes(18).add("Col2Im", inputs, [x], **attrs), word)
