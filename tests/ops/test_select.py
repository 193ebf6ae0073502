"""Operators that find elements by index or by value, at every version and type, against NumPy."""
import numpy as np
import pytest

from nodes import Nodes, is_float, refuses
from test_move import by_version, elements, i64

RNG = np.random.default_rng(8)
F32 = np.dtype(np.float32)


# Gather

def test_gather():
    def add(nodes, version, dtype):
        x = elements(dtype, 4, 5, 3)
        for axis in (0, 1, 2) + ((-1, -2) if version >= 11 else ()):
            size = x.shape[axis]
            for shape in (), (2,), (2, 3), (0,), (1, 1, 4):
                index = RNG.integers(-size if version >= 11 else 0, size, shape)
                nodes.add("Gather", [x, index.astype(RNG.choice([np.int32, np.int64]))], [x.take(index, axis)], axis=axis)
    by_version("Gather", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(13).add("Gather", [x, i64(2)], [x]), "index 2", "[-2, 2)")
    refuses(Nodes(13).add("Gather", [x, i64(-4)], [x], axis=1), "-4")
    refuses(Nodes(13).add("Gather", [x[:0], i64(0)], [x]), "index 0")
    refuses(Nodes(13).add("Gather", [x, np.zeros([1] * 12, np.int64)], [x]), "12")


def test_gather_in_even_steps():
    """Windows and strides, known when a plan is made, are copies; what is uneven by one is not."""
    nodes, x = Nodes(17), elements(F32, 6, 20, 9)
    windows = np.add.outer(np.arange(4), 3 * np.arange(5))
    for index in windows, windows[::-1, ::-1], windows[..., None] + np.arange(2), windows - 20, i64(3), i64(-1, 3)[:1], \
            i64(7, 4, 1, -2), i64(-2, -1, 0, 1), np.zeros((3, 2), np.int64), windows + (windows == 7):
        for dtype in np.int64, np.int32:
            nodes.add("Gather", [x, index.astype(dtype)], [x.take(index, 1)], known=(1,), axis=1)
    nodes.add("Gather", [x, i64(8, 6, 4)], [x[..., 8:2:-2]], known=(1,), axis=-1)
    nodes.add("Gather", [x, i64(5, 5)], [x.take([5, 5], 0)], known=(1,))
    nodes.check()
    refuses(Nodes(17).add("Gather", [x, i64(2, 4, 6)], [x], known=(1,)), "6")


def test_gather_elements():
    def add(nodes, version, dtype):
        x = elements(dtype, 4, 5, 3)
        for axis in 0, 1, 2, -1:
            shape = [4, 5, 3]
            shape[axis] = 6
            index = RNG.integers(-x.shape[axis], x.shape[axis], shape)
            nodes.add("GatherElements", [x, index], [np.take_along_axis(x, index, axis)], axis=axis)
    by_version("GatherElements", add)
    x = elements(F32, 4, 5)
    index = RNG.integers(0, 4, (7, 2))  # other dimensions may be shorter
    Nodes(13).add("GatherElements", [x, index], [np.take_along_axis(x[:, :2], index, 0)]).check()
    refuses(Nodes(13).add("GatherElements", [x, index], [x], axis=1), "shape")
    refuses(Nodes(13).add("GatherElements", [x, i64([4, 0, 0, 0, 0])], [x]), "index 4")


def reference_gather_nd(x, index, batch):
    out = []
    for b in np.ndindex(*x.shape[:batch]):
        rows = index[b].reshape(-1, index.shape[-1])
        out += [x[b][tuple(r)] for r in rows]
    tail = x.shape[batch + index.shape[-1]:]
    return np.array(out, x.dtype).reshape(index.shape[:-1] + tail)


def test_gather_nd():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3, 4)
        for batch in range(3 if version >= 12 else 1):
            for k in range(1, 4 - batch):
                shape = x.shape[:batch] + (5, 2, k)
                index = np.stack([RNG.integers(-d, d, shape[:-1]) for d in x.shape[batch:batch + k]], -1)
                kw = {"batch_dims": batch} if version >= 12 else {}
                nodes.add("GatherND", [x, index], [reference_gather_nd(x, index, batch)], **kw)
    by_version("GatherND", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(13).add("GatherND", [x, i64([0, 3])], [x]), "index 3")
    refuses(Nodes(13).add("GatherND", [x, i64([0, 0, 0])], [x]), "tuples of 3")
    refuses(Nodes(13).add("GatherND", [x, np.zeros((3, 1), np.int64)], [x], batch_dims=1), "batch dimension 0")
    refuses(Nodes(13).add("GatherND", [x, np.zeros((2, 1), np.int64)], [x], batch_dims=2), "batch")


def test_compress():
    def add(nodes, version, dtype):
        x = elements(dtype, 3, 4, 2)
        for axis, n in (None, 24), (None, 5), (0, 3), (1, 3), (2, 2):
            condition = RNG.integers(0, 2, n).astype(bool)
            kw = {} if axis is None else {"axis": axis}
            nodes.add("Compress", [x, condition], [np.compress(condition, x, axis)], **kw)
        nodes.add("Compress", [x, np.zeros(4, bool)], [x[:, :0]], axis=1)
    by_version("Compress", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(11).add("Compress", [x, np.array([0, 0, 1], bool)], [x], axis=0), "2")


# Scatter

REDUCE = {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def reductions(version, dtype):
    if dtype == object or dtype.kind == "c" or version < 16:
        return ["none"]
    return ["none", "add", "mul"] + (["min", "max"] if version >= 18 else [])


def reduced(op, a, b, dtype):
    """One step of a reduction, in double or 64 bits and stored."""
    if op == "none" or dtype == object:
        return b
    if dtype == bool:
        return {"add": a | b, "max": a | b, "mul": a & b, "min": a & b}[op]
    wide = np.float64 if is_float(dtype) else np.int64 if dtype.kind == "i" else np.uint64
    with np.errstate(over="ignore"):
        return REDUCE[op](np.array(a).astype(wide), np.array(b).astype(wide)).astype(dtype)


def test_scatter_elements():
    def add(nodes, version, dtype):
        x = elements(dtype, 4, 5)
        for reduction in reductions(version, dtype):
            for axis in 0, 1, -1:
                shape = (3, 5) if axis == 0 else (4, 3)
                index = RNG.integers(0, x.shape[axis], shape) if reduction != "none" else \
                    np.stack([RNG.permutation(x.shape[axis])[:3] for _ in range(shape[1 - abs(axis)])], 1 - abs(axis))
                index -= RNG.integers(0, 2, shape) * x.shape[axis]
                update, want = elements(dtype, *shape), x.copy()
                for at in np.ndindex(*shape):
                    to = list(at)
                    to[axis] = index[at]
                    want[tuple(to)] = reduced(reduction, want[tuple(to)], update[at], dtype)
                kw = {"reduction": reduction} if version >= 16 else {}
                nodes.add("ScatterElements", [x, index, update], [want], axis=axis, **kw)
    by_version("ScatterElements", add)
    x = np.zeros((2, 3), np.float32)
    Nodes(9).add("Scatter", [x, i64([1, 0, 1]), np.float32([[1, 2, 3]])], [np.float32([[0, 2, 0], [1, 0, 3]])]).check()
    refuses(Nodes(18).add("ScatterElements", [x, i64([2, 0, 0]), x[:1]], [x]), "index 2")
    refuses(Nodes(18).add("ScatterElements", [x, i64([0, 0, 0]), x], [x]), "shape")
    refuses(Nodes(18).add("ScatterElements", [x, i64([0, 0, 0]), x[:1]], [x], reduction="sum"), "reduction")
    nan = np.float32([np.nan, 1, 2])
    Nodes(18).add("ScatterElements", [nan, i64(0, 1), np.float32([5, np.nan])], [np.float32([np.nan, np.nan, 2])],
                  reduction="max").check()


def test_scatter_nd():
    def add(nodes, version, dtype):
        x = elements(dtype, 3, 4, 2)
        for reduction in reductions(version, dtype):
            for k in 1, 2, 3:
                every = np.array(list(np.ndindex(*x.shape[:k])))
                index = every[RNG.permutation(len(every))[:3]] if reduction == "none" else every[RNG.integers(0, len(every), 5)]
                update, want = elements(dtype, len(index), *x.shape[k:]), x.copy()
                for i, to in enumerate(index):
                    want[tuple(to)] = reduced(reduction, want[tuple(to)], update[i], dtype)
                signs = index - RNG.integers(0, 2, index.shape) * np.array(x.shape[:k])
                kw = {"reduction": reduction} if version >= 16 else {}
                nodes.add("ScatterND", [x, signs, update], [want], **kw)
    by_version("ScatterND", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(18).add("ScatterND", [x, i64([2]), x[:1]], [x]), "index 2")
    refuses(Nodes(18).add("ScatterND", [x, i64([0, 0, 0]), x[:1]], [x]), "tuples")
    refuses(Nodes(18).add("ScatterND", [x, i64([0]), x], [x]), "updates")


def test_tensor_scatter():
    def add(nodes, version, dtype):
        cache, update = elements(dtype, 2, 3, 5, 2), elements(dtype, 2, 3, 4, 2)
        want = cache.copy()
        want[0, :, 1:5], want[1, :, :4] = update[0], update[1]
        nodes.add("TensorScatter", [cache, update, i64(1, 0)], [want])
        want = cache.copy()
        for b, start in enumerate((3, 9)):
            for i in range(4):
                want[b, :, (start + i) % 5] = update[b, :, i]
        nodes.add("TensorScatter", [cache, update, i64(3, 9)], [want], mode="circular")
        want = cache.copy()
        want[:, :, :4] = update
        nodes.add("TensorScatter", [cache, update], [want])
    by_version("TensorScatter", add)
    x = np.zeros((1, 4, 2), np.float32)
    refuses(Nodes(24).add("TensorScatter", [x, x[:, :2], i64(3)], [x]), "3")
    refuses(Nodes(24).add("TensorScatter", [x, x, i64(-1)], [x]), "-1")
    refuses(Nodes(24).add("TensorScatter", [x[:, :2], x], [x]), "update")
    refuses(Nodes(24).add("TensorScatter", [x, x, i64(0)], [x], axis=0), "axis 0")


# Order

@pytest.mark.parametrize("shape,axis", [((300,), 0), ((4, 50, 3), 1), ((4, 50, 3), -1), ((2, 0, 3), 2)])
def test_top_k(shape, axis):
    def add(nodes, version, dtype):
        if axis < 0 and version < 11:
            return
        x = elements(dtype, *shape)
        if is_float(dtype):
            x = np.round(x.astype(np.float64)).astype(dtype)  # many equals
        n = x.shape[axis]
        keys = x.astype(np.float64) if is_float(dtype) else x.astype(object)
        for k in {0, 1, n // 2, n}:
            if k == 0 and version == 1:
                continue
            for largest in (1, 0) if version >= 11 else (1,):
                order = np.argsort(-keys if largest else keys, axis=axis, kind="stable").take(range(k), axis)
                want = [np.take_along_axis(x, order, axis), order]
                if version == 1:
                    nodes.add("TopK", [x], want, k=k, axis=axis)
                else:
                    nodes.add("TopK", [x, i64(k)], want, axis=axis, **({"largest": largest} if version >= 11 else {}))
    by_version("TopK", add)


def test_top_k_extremes():
    x = np.float32([1, np.nan, -np.inf, 0., -0., np.inf, np.nan])
    nodes = Nodes(11).add("TopK", [x, i64(4)], [x[[1, 6, 5, 0]], i64(1, 6, 5, 0)])
    nodes.add("TopK", [x, i64(5)], [x[[2, 3, 4, 0, 5]], i64(2, 3, 4, 0, 5)], largest=0)
    u = np.uint64([2**63, 1, 2**64 - 1, 0])
    nodes.add("TopK", [u, i64(4)], [u[[2, 0, 1, 3]], i64(2, 0, 1, 3)]).check()
    refuses(Nodes(11).add("TopK", [x, i64(8)], [x, x]), "8")
    refuses(Nodes(11).add("TopK", [x, i64(-1)], [x, x]), "-1")


@pytest.mark.parametrize("largest", (1, 0))
def test_top_k_of_long_rows(largest):
    """A few of many: what cannot be among the best is passed over."""
    nodes = Nodes(11)
    for n, k in (100, 1), (512, 20), (513, 33), (3000, 7), (9001, 300):
        rows = RNG.normal(size=(7, n)).astype(np.float32)
        rows[1] = np.sort(rows[1])
        rows[2] = np.maximum(rows[2], 0)
        rows[3] = 1
        rows[4] = np.where(RNG.random(n) < .3, np.nan, rows[4])
        rows[5] = RNG.choice(np.float32([np.nan, np.inf, -np.inf, 1, -0., 0.]), n)
        rows[6] = np.where(np.arange(n) < n - k // 2, np.nan, np.inf)
        keys = np.nan_to_num(rows.astype(np.float64), nan=np.inf, posinf=1e39, neginf=-1e39)
        order = np.argsort(-keys if largest else keys, axis=1, kind="stable")[:, :k]
        nodes.add("TopK", [rows, i64(k)], [np.take_along_axis(rows, order, 1), order], largest=largest)
    for dtype in np.float64, np.float16, np.int64, np.int32, np.uint8, np.uint64:
        for axis in 0, 1:
            x = RNG.integers(0, 99, (90, 70)).astype(dtype)
            keys = x.astype(np.float64)
            order = np.argsort(-keys if largest else keys, axis=axis, kind="stable").take(range(9), axis)
            nodes.add("TopK", [x, i64(9)], [np.take_along_axis(x, order, axis), order], largest=largest, axis=axis)
    for scale in 1e300, -1e300, 1e-50:  # beyond floats
        x = RNG.random((2, 900)) * scale
        order = np.argsort(-x if largest else x, axis=1, kind="stable")[:, :9]
        nodes.add("TopK", [x, i64(9)], [np.take_along_axis(x, order, 1), order], largest=largest)
    nodes.check()


@pytest.mark.parametrize("axis", (None, 0, 1, -1))
@pytest.mark.parametrize("by_value", (1, 0))
def test_unique(axis, by_value):
    def add(nodes, version, dtype):
        x = elements(dtype, 6, 4, 2)
        if dtype != object and dtype.kind not in "bc":
            x = np.where(x.astype(np.float64) > 0, np.ones(1, dtype), np.zeros(1, dtype))
        x = np.concatenate([x, x[:2]])
        rows = [r for r in (x.reshape(-1, 1) if axis is None else np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1))]
        tuples = [tuple((v.real, v.imag) if np.iscomplexobj(v) else v for v in (r.astype(np.float64) if is_float(dtype) else r))
                  for r in rows]
        first = {}
        for i, t in enumerate(tuples):
            first.setdefault(t, i)
        groups = sorted(first) if by_value else list(first)
        at = i64(*[first[g] for g in groups])
        y = x.reshape(-1)[at] if axis is None else x.take(at, axis)
        inverse = i64(*[groups.index(t) for t in tuples])
        counts = i64(*[tuples.count(g) for g in groups])
        kw = {} if axis is None else {"axis": axis}
        nodes.add("Unique", [x], [y, at, inverse, counts], sorted=by_value, **kw)
        nodes.add("Unique", [x], [y, None, inverse], sorted=by_value, **kw)
    by_version("Unique", add)


def test_unique_nan():
    x = np.float32([np.nan, 2, np.nan, -0., 0.])
    Nodes(11).add("Unique", [x], [np.float32([-0., 2, np.nan]), i64(3, 1, 0), i64(2, 1, 2, 0, 0), i64(2, 1, 2)]).check()


def test_non_zero():
    def add(nodes, version, dtype):
        x = elements(dtype, 3, 4, 2)
        x.reshape(-1)[::3] = "" if dtype == object else 0
        if dtype.name == "float8_e8m0fnu":
            want = np.indices(x.shape).reshape(3, -1)
        else:
            want = np.array(np.nonzero(x if dtype == object or dtype.kind in "cb" else x.astype(np.float64)))
        nodes.add("NonZero", [x], [want])
        nodes.add("NonZero", [x[0, 0, 0].reshape(())] if dtype != object else [x], [np.zeros((0, 0), np.int64)] if dtype != object else [want])
        nodes.add("NonZero", [x[:0]], [np.zeros((3, 0), np.int64)])
    by_version("NonZero", add)
    Nodes(13).add("NonZero", [np.float32([-0., 0., np.nan, 1e-45])], [i64([2, 3])]) \
        .add("NonZero", [np.float32(3)], [np.zeros((0, 1), np.int64)]).check()


def test_one_hot():
    def add(nodes, version, dtype):
        values, index = elements(dtype, 2), RNG.integers(-9, 9, (2, 3))
        for axis in (-1, 0, 1, 2) + ((-2,) if version >= 11 else ()):
            for depth in np.array(5, np.int64), np.array([7.0], np.float32), np.array(0, np.int32):
                d = int(depth.reshape(-1)[0])
                at = np.where(index < 0, index + d, index) if version >= 11 else index
                hot = np.stack([at == i for i in range(d)], axis) if d else np.zeros(np.insert(np.array([2, 3]), axis if axis >= 0 else axis + 3, 0), bool)
                want = np.where(hot, values[1:], values[:1]) if dtype != object else np.where(hot, values[1], values[0]).astype(object)
                given = index.astype(np.float32) if axis == 0 else index
                nodes.add("OneHot", [given, depth, values], [want], axis=axis)
    by_version("OneHot", add, "T3")
    x = np.float32([0, 1])
    refuses(Nodes(11).add("OneHot", [i64(1), i64(-3), x], [x]), "-3")
    refuses(Nodes(11).add("OneHot", [i64(1), i64(3), x[:1]], [x]), "two")
    refuses(Nodes(11).add("OneHot", [i64(1), i64(2**62), x], [x]))


# Boxes

def reference_nms(boxes, scores, most, iou, least, center):
    def corners(b):
        return (b[:2] - b[2:] / 2, b[:2] + b[2:] / 2) if center else (np.minimum(b[:2], b[2:]), np.maximum(b[:2], b[2:]))
    def overlap(a, b):
        (al, ah), (bl, bh) = corners(a), corners(b)
        side = np.minimum(ah, bh) - np.maximum(al, bl)
        common = side[0] * side[1] if (side > 0).all() else 0
        return common / (np.prod(ah - al) + np.prod(bh - bl) - common)
    out = []
    for n in range(scores.shape[0]):
        for c in range(scores.shape[1]):
            kept = []
            for i in np.argsort(-scores[n, c], kind="stable"):
                if len(kept) < most and (least is None or scores[n, c, i] > least) and \
                        all(overlap(boxes[n, i], boxes[n, k]) <= iou for k in kept):
                    kept.append(i)
            out += [(n, c, i) for i in kept]
    return np.array(out, np.int64).reshape(-1, 3)


@pytest.mark.parametrize("center", (0, 1))
def test_non_max_suppression(center):
    nodes = Nodes(11)
    for n, c, b in (1, 1, 1), (2, 3, 40), (1, 80, 30), (1, 2, 0):
        boxes = RNG.uniform(0, 1, (n, b, 4)).astype(np.float32)
        scores = np.round(RNG.uniform(0, 1, (n, c, b)), 1).astype(np.float32)
        for most, iou, least in (3, .5, None), (100, .1, .35), (0, .5, None), (-1, .5, None), (5, 0, .8):
            want = reference_nms(boxes, scores, most, np.float32(iou), least if least is None else np.float32(least), center)
            nodes.add("NonMaxSuppression", [boxes, scores, i64(most), np.float32(iou),
                                            None if least is None else np.float32([least])], [want], center_point_box=center)
        nodes.add("NonMaxSuppression", [boxes, scores], [np.zeros((0, 3), np.int64)])
    nodes.check()
    refuses(Nodes(11).add("NonMaxSuppression", [np.zeros((1, 2, 4), np.float32), np.zeros((1, 1, 3), np.float32)],
                          [i64(0)]), "boxes")
