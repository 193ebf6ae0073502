"""Reductions, ArgMax, running sums and functions of a line, at every version and type, against NumPy."""
import itertools

import ml_dtypes
import numpy as np
import pytest

from nodes import REFERENCE, Nodes, dtypes_of, is_float, refuses, samples, versions_of

RNG = np.random.default_rng(6)


def log_sum_exp(x, axis, keepdims):
    top = np.max(x, axis=axis, keepdims=True)
    y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.squeeze(y, axis if axis is not None else tuple(range(x.ndim)))


REDUCE = {
    "ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min,
    "ReduceL1": lambda x, **k: np.sum(np.abs(x), **k), "ReduceL2": lambda x, **k: np.sqrt(np.sum(x * x, **k)),
    "ReduceSumSquare": lambda x, **k: np.sum(x * x, **k), "ReduceLogSum": lambda x, **k: np.log(np.sum(x, **k)),
    "ReduceLogSumExp": log_sum_exp,
}


def expected_reduction(op, x, axes, keepdims):
    """In double or 64-bit integers, stored as x's type: whole numbers truncate."""
    if is_float(x.dtype) or op in ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        y = REDUCE[op](x.astype(np.float64), axis=axes, keepdims=keepdims)
        return np.asarray(y if is_float(x.dtype) else np.trunc(y)).astype(x.dtype)
    wide = x if x.dtype == bool else x.astype(np.uint64 if x.dtype.kind == "u" else np.int64)
    return np.asarray(REDUCE[op](wide, axis=axes, keepdims=keepdims)).astype(x.dtype)


@pytest.mark.parametrize("op", REDUCE)
def test_reduce(op):
    for version in versions_of(op):
        as_input = version >= (13 if op == "ReduceSum" else 18)
        nodes = Nodes(version)
        for dtype in dtypes_of(op, version):
            for shape, axes in ((3, 4, 5), None), ((3, 4, 5), (1,)), ((3, 4, 5), (0, 2)), ((2, 1, 3), (1,)), ((), None), \
                    ((700, 3), (0,)), ((3, 700), (1,)), ((4, 2, 3, 5), (1, 3)):
                low = 1 if "Log" in op or op == "ReduceProd" else -4 if dtype.kind != "u" else 0
                x = samples(dtype, shape, RNG, low, 4 if op != "ReduceProd" else 1.01)
                for keepdims in 0, 1:
                    e = expected_reduction(op, x, axes, bool(keepdims))
                    list_ = None if axes is None else np.array(axes, np.int64)
                    if as_input:
                        nodes.add(op, [x, list_], [e], keepdims=keepdims)
                    else:
                        nodes.add(op, [x], [e], keepdims=keepdims, **({} if axes is None else {"axes": list(axes)}))
        nodes.check(ulps=4, atol=1e-11, options=REFERENCE)  # NumPy adds doubles in another order


def test_noop_still_computes():
    x = np.array([[1., -2.], [3., 4.]])
    none = np.array([], np.int64)
    nodes = Nodes(18)
    for op, y in ("ReduceSum", x), ("ReduceSumSquare", x * x), ("ReduceL1", abs(x)), ("ReduceMax", x):
        nodes.add(op, [x, none], [y], noop_with_empty_axes=1).add(op, [x], [y], noop_with_empty_axes=1, keepdims=0)
    nodes.add("ReduceLogSum", [abs(x)], [np.log(abs(x))], noop_with_empty_axes=1)
    nodes.add("ReduceSum", [x, none], [np.array([[6.]])]).check()


def test_empty_sets():
    x, axes = np.zeros((2, 0, 3)), np.array([1])
    whole, full = (2, 1, 3), np.full
    Nodes(20).add("ReduceSum", [x, axes], [full(whole, 0.)]).add("ReduceProd", [x, axes], [full(whole, 1.)]) \
        .add("ReduceMax", [x, axes], [full(whole, -np.inf)]).add("ReduceMin", [x, axes], [full(whole, np.inf)]) \
        .add("ReduceLogSum", [x, axes], [full(whole, -np.inf)]).add("ReduceLogSumExp", [x, axes], [full(whole, -np.inf)]) \
        .add("ReduceL1", [x, axes], [full(whole, 0.)]).add("ReduceL2", [x, axes], [full(whole, 0.)]) \
        .add("ReduceMax", [x.astype(np.int8), axes], [full(whole, -128, np.int8)]) \
        .add("ReduceMin", [x.astype(np.int8), axes], [full(whole, 127, np.int8)]) \
        .add("ReduceMax", [x.astype(np.uint64), axes], [full(whole, 0, np.uint64)]) \
        .add("ReduceMin", [x.astype(np.int64), axes], [full(whole, 2**63 - 1, np.int64)]) \
        .add("ReduceMax", [x.astype(bool), axes], [full(whole, False)]) \
        .add("ReduceMin", [x.astype(bool), axes], [full(whole, True)]) \
        .add("ReduceSum", [x, np.array([0])], [np.zeros((1, 0, 3))]).check()


def test_reduce_refuses():
    x = np.zeros((2, 3))
    refuses(Nodes(18).add("ReduceSum", [x, np.array([2])], [x]), "axis")
    refuses(Nodes(18).add("ReduceSum", [x, np.array([1, -1])], [x]), "twice")
    refuses(Nodes(11).add("ReduceMax", [x], [x], axes=[-3]), "axis")


def test_log_sum_exp_keeps_infinities():
    x = np.array([[1e4, 1e4, -1e4], [-np.inf, -np.inf, -np.inf], [np.inf, 0, 1], [np.nan, 0, 1]])
    Nodes(18).add("ReduceLogSumExp", [x, np.array([1])], [np.array([1e4 + np.log(2), -np.inf, np.inf, np.nan])],
                  keepdims=0).check(ulps=2)


@pytest.mark.parametrize("op,f", [("ArgMax", np.argmax), ("ArgMin", np.argmin)])
def test_arg(op, f):
    for version in versions_of(op):
        nodes = Nodes(version)
        for dtype, shape in itertools.product(dtypes_of(op, version), [(3, 7, 4), (2, 3, 150)]):
            x = samples(dtype, shape, RNG, -3, 3)
            wide = x.astype(np.float64) if is_float(dtype) else x
            for axis, keepdims in itertools.product((0, 1, 2), (0, 1)):
                nodes.add(op, [x], [np.asarray(f(wide, axis=axis, keepdims=bool(keepdims)))], axis=axis, keepdims=keepdims)
                if version >= 12:
                    last = x.shape[axis] - 1 - f(np.flip(wide, axis), axis=axis, keepdims=bool(keepdims))
                    nodes.add(op, [x], [last], axis=axis - 3, keepdims=keepdims, select_last_index=1)
        nodes.check()
    x = np.array([[0., -0., np.nan, np.inf, np.nan], [3, -np.inf, np.inf, np.inf, -np.inf]])
    big = np.array([[2**64 - 1, 2**63, 0]], np.uint64)
    Nodes(13).add(op, [x], [f(x, axis=1, keepdims=True)], axis=1).add(op, [big], [f(big, axis=1, keepdims=True)], axis=1) \
        .add(op, [x[:1, :2]], [np.array([[0]])], axis=1).check()
    refuses(Nodes(13).add(op, [np.zeros((2, 0))], [x], axis=1))


@pytest.mark.parametrize("op,f", [("CumSum", np.cumsum), ("CumProd", np.cumprod)])
def test_cumulate(op, f):
    start = 0 if op == "CumSum" else 1
    for version in versions_of(op):
        nodes = Nodes(version)
        for dtype in dtypes_of(op, version):
            x = samples(dtype, (3, 4, 5), RNG, 0, 3)
            wide = x.astype(np.float64 if is_float(dtype) else np.int64)
            for axis, exclusive, reverse in itertools.product((0, 1, -1), (0, 1), (0, 1)):
                y = np.flip(wide, axis) if reverse else wide
                if exclusive:
                    first = np.full_like(np.take(y, [0], axis), start)
                    y = np.concatenate([first, np.take(y, range(y.shape[axis] - 1), axis)], axis)
                y = f(y, axis=axis)
                y = np.flip(y, axis) if reverse else y
                nodes.add(op, [x, np.int64(axis)], [y.astype(dtype)], exclusive=exclusive, reverse=reverse)
        nodes.check(ulps=2)
    refuses(Nodes(26).add(op, [np.zeros((2, 3)), np.int32(2)], [np.zeros((2, 3))]), "axis")


def narrow_steps(dtype):
    """Rounds a step to a type narrower than float; wider types are rounded at the end alone."""
    return (lambda y: y.astype(dtype).astype(np.float64)) if dtype.itemsize == 2 else lambda y: y


def exps(x, r):
    shifted = r(x - x.max(-1, keepdims=True))
    e = r(np.exp(shifted))
    return shifted, e, r(e.sum(-1, keepdims=True))


def softmax(x, r):
    _, e, total = exps(x, r)
    return e / total


def log_softmax(x, r):
    shifted, _, total = exps(x, r)
    return shifted - r(np.log(total))


def hardmax(x, _):
    return (np.arange(x.shape[-1]) == np.argmax(x, -1)[..., None]).astype(x.dtype)


LINES = {"Softmax": softmax, "LogSoftmax": log_softmax, "Hardmax": hardmax}


@pytest.mark.parametrize("op", LINES)
def test_lines(op):
    shape = (2, 3, 4, 5)
    for version in versions_of(op):
        nodes = Nodes(version)
        for dtype in dtypes_of(op, version):
            x, r = samples(dtype, shape, RNG, -3, 3), narrow_steps(dtype)
            for axis in 0, 1, 3, None:
                at = (-1 if version >= 13 else 1) if axis is None else axis
                wide = x.astype(np.float64)
                if version >= 13:
                    y = np.moveaxis(LINES[op](np.moveaxis(wide, at, -1), r), -1, at)
                else:
                    y = LINES[op](wide.reshape(int(np.prod(shape[:at])), -1), r).reshape(shape)
                nodes.add(op, [x], [y.astype(dtype)], **({} if axis is None else {"axis": axis}))
        nodes.check(ulps=8, atol=1e-15, options=REFERENCE)
    refuses(Nodes(13).add(op, [np.zeros((2, 3))], [np.zeros((2, 3))], axis=2), "axis")
    Nodes(13).add(op, [np.zeros((2, 0))], [np.zeros((2, 0))]).check()


def test_softmax_of_large_numbers():
    x = np.array([[1e30, 1e30, 0], [-1e30, -1e30, -1e30]])
    Nodes(13).add("Softmax", [x], [np.array([[.5, .5, 0], [1 / 3] * 3])]) \
        .add("LogSoftmax", [x], [np.array([[-np.log(2), -np.log(2), -1e30], [-np.log(3)] * 3])]).check(ulps=2)


def test_lp_normalization():
    x = samples(np.dtype(np.float64), (3, 4, 5), RNG)
    x[0, :, 0] = 0
    for version in versions_of("LpNormalization"):
        nodes = Nodes(version)
        for axis in 0, 1, -1:
            for p, norm in (1, np.abs(x).sum(axis, keepdims=True)), (2, np.sqrt((x * x).sum(axis, keepdims=True))):
                y = np.divide(x, norm, out=np.zeros_like(x), where=norm != 0)
                nodes.add("LpNormalization", [x], [y], p=p, axis=axis)
        nodes.check(ulps=2)
    refuses(Nodes(22).add("LpNormalization", [x], [x], p=3), "p")
