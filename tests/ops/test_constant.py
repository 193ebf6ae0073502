"""Tensors from attributes and shapes."""
import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nodes import Nodes, dtypes_of, refuses, samples, versions_of

RNG = np.random.default_rng(8)


def test_constant_forms():
    x = np.arange(6, dtype=np.float64).reshape(2, 3)
    nodes = Nodes(13).add("Constant", [], [x], value=numpy_helper.from_array(x)) \
        .add("Constant", [], [np.float32(1.5)], value_float=1.5).add("Constant", [], [np.float32([1, 2])], value_floats=[1., 2.]) \
        .add("Constant", [], [np.int64(-3)], value_int=-3).add("Constant", [], [np.array([4, 5])], value_ints=[4, 5]) \
        .add("Constant", [], [np.array("text", object)], value_string="text") \
        .add("Constant", [], [np.array(["a", "bc"], object)], value_strings=["a", "bc"])
    sparse = helper.make_sparse_tensor(helper.make_tensor("v", TensorProto.FLOAT, [2], [7., 8.]),
                                       helper.make_tensor("i", TensorProto.INT64, [2], [1, 5]), [2, 3])
    nodes.add("Constant", [], [np.float32([[0, 7, 0], [0, 0, 8]])], sparse_value=sparse)
    nodes.check()
    narrow = Nodes(25)
    for dtype in dtypes_of("Constant", 25):
        if dtype.kind not in "Oc":
            v = samples(dtype, (3, 3), RNG, 0, 3)
            narrow.add("Constant", [], [v], value=numpy_helper.from_array(v))
    narrow.check()
    refuses(Nodes(13).add("Constant", [], [x]))


def test_constant_of_shape():
    nodes = Nodes(25).add("ConstantOfShape", [np.array([2, 3])], [np.zeros((2, 3), np.float32)]) \
        .add("ConstantOfShape", [np.array([], np.int64)], [np.float32(0)]) \
        .add("ConstantOfShape", [np.array([2, 0])], [np.zeros((2, 0), np.float32)])
    for dtype in dtypes_of("ConstantOfShape", 25, "T2"):
        v = np.array([1]).astype(dtype)
        nodes.add("ConstantOfShape", [np.array([5])], [np.repeat(v, 5)], value=numpy_helper.from_array(v))
    nodes.check()
    refuses(Nodes(9).add("ConstantOfShape", [np.array([-1])], [np.zeros(1)]), "negative")
    refuses(Nodes(9).add("ConstantOfShape", [np.array([2**62])], [np.zeros(1)]))
    refuses(Nodes(9).add("ConstantOfShape", [np.array([2])], [np.zeros(1)], value=numpy_helper.from_array(np.zeros(2))))


def test_range():
    nodes = Nodes(27)
    for dtype in (np.dtype(t) for t in (np.int16, np.int32, np.int64, np.float32, np.float64)):
        for start, limit, delta in (0, 5, 1), (10, 4, -2), (3, 3, 1), (5, 0, 1), (1, 8, 3), (-4, 4, 2):
            nodes.add("Range", [dtype.type(v) for v in (start, limit, delta)], [np.arange(start, limit, delta).astype(dtype)])
    nodes.add("Range", [np.float64(0), np.float64(1), np.float64(.1)], [np.arange(0, 1, .1)])
    for dtype in np.float16, ml_dtypes.bfloat16:
        nodes.add("Range", [dtype(0), dtype(3000), dtype(1)], [np.arange(float(dtype(3000)), dtype=np.float32).astype(dtype)])
    nodes.check()
    Nodes(11).add("Range", [np.int64(2**63 - 3), np.int64(2**63 - 1), np.int64(1)], [np.array([2**63 - 3, 2**63 - 2])]) \
        .add("Range", [np.int64(-2**63), np.int64(2**63 - 1), np.int64(2**62)], [np.array([-2**63, -2**62, 0, 2**62])]).check()
    for bad in ([0, 5, 0], [0, 2**62, 1]):
        refuses(Nodes(11).add("Range", [np.int64(v) for v in bad], [np.zeros(1)]))
    for bad in ([0, np.nan, 1], [0, np.inf, 1], [0, 1, 0], [0, 1, 1e-300]):
        refuses(Nodes(11).add("Range", [np.float64(v) for v in bad], [np.zeros(1)]))


def test_eye_like():
    nodes = Nodes(22)
    for dtype in dtypes_of("EyeLike", 22, "T2"):
        for shape, k in ((3, 4), 0), ((4, 3), 1), ((4, 3), -2), ((2, 2), 5), ((0, 3), 0):
            x = samples(dtype, shape, RNG)
            nodes.add("EyeLike", [x], [np.eye(*shape, k=k).astype(dtype)], k=k)
            nodes.add("EyeLike", [x], [np.eye(*shape, k=k, dtype=np.int16)], k=k, dtype=TensorProto.INT16)
    nodes.check()
    refuses(Nodes(9).add("EyeLike", [np.zeros(3)], [np.zeros(3)]), "rank")
    Nodes(9).add("EyeLike", [np.zeros((2, 2))], [np.zeros((2, 2))], k=-2**63).check()


def test_shape_and_size():
    x = np.zeros((2, 3, 4, 0, 5), np.int8)
    whole = np.array(x.shape)
    nodes = Nodes(21).add("Shape", [x], [whole]).add("Size", [x], [np.int64(0)]).add("Shape", [np.float32(1)], [whole[:0]]) \
        .add("Size", [np.float32(1)], [np.int64(1)]).add("Size", [x[:, :, :, None, 0:1].reshape(2, 3, 4, 0, 5)], [np.int64(0)])
    for start in -9, -2, 0, 1, 4, 9:
        nodes.add("Shape", [x], [whole[max(-5, start):] if start < 5 else whole[:0]], start=start)
        for end in -7, -1, 0, 3, 8:
            nodes.add("Shape", [x], [whole[max(-5, start) if start < 5 else 5:max(end, -5)]], start=start, end=end)
    nodes.check()


@pytest.mark.parametrize("version", versions_of("Identity"))
def test_identity(version):
    nodes = Nodes(version)
    for dtype in dtypes_of("Identity", version, "V" if version >= 14 else "T"):
        x = np.array(["a", "", "bc"], object) if dtype.kind == "O" else samples(np.dtype(np.float64), (2, 3), RNG).astype(dtype) \
            if dtype.kind == "c" else samples(dtype, (2, 3), RNG)
        nodes.add("Identity", [x], [x])
    nodes.check()
