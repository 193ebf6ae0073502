"""Operators that rearrange elements, at every version and type, against NumPy."""
import itertools

import numpy as np
import pytest

from nodes import Nodes, dtypes_of, refuses, samples, versions_of

RNG = np.random.default_rng(7)


def elements(dtype, *shape):
    if dtype == object:
        return np.array([f"s{i}" * (i % 3) for i in RNG.integers(0, 99, int(np.prod(shape)))], object).reshape(shape)
    if dtype.kind == "c":
        return (RNG.uniform(-8, 8, shape) + 1j * RNG.uniform(-8, 8, shape)).astype(dtype)
    return samples(dtype, shape, RNG)


def i64(*v):
    return np.array(v, np.int64)


def by_version(op, add, param="T"):
    """Checks what add(nodes, version, dtype) adds: every version, each type where it appears, a few throughout."""
    seen = set()
    for version in versions_of(op):
        nodes, dtypes = Nodes(version), dtypes_of(op, version, param)
        for dtype in dtypes:
            if dtype not in seen or dtype in dtypes[:2]:
                add(nodes, version, dtype)
        seen.update(dtypes)
        nodes.check()


# Reshape and its kin

def test_reshape():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3, 4)
        for shape in (6, 4), (0, -1), (24,), (0, 0, 2, 2), (-1, 3, 1, 2), (2, 0, 4):
            want = [x.shape[i] if d == 0 else d for i, d in enumerate(shape)]
            if version == 1:
                nodes.add("Reshape", [x], [x.reshape(want)], shape=shape)
            else:
                nodes.add("Reshape", [x, i64(*shape)], [x.reshape(want)])
    by_version("Reshape", add)


def test_reshape_zeros():
    empty = np.zeros((0, 3), np.float32)
    Nodes(14).add("Reshape", [empty, i64(3, 0, 2)], [empty.reshape(3, 0, 2)], allowzero=1) \
        .add("Reshape", [empty, i64(0, 3, 1)], [empty.reshape(0, 3, 1)]) \
        .add("Reshape", [empty, i64(0, -1, 1)], [empty.reshape(0, 3, 1)]) \
        .add("Reshape", [np.ones((1, 1), np.float32), np.zeros(0, np.int64)], [np.float32(1)]).check()
    refuses(Nodes(14).add("Reshape", [empty, i64(0, -1)], [empty], allowzero=1), "-1")
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(14).add("Reshape", [x, i64(4, -1)], [x]), "-1")
    refuses(Nodes(14).add("Reshape", [x, i64(-1, -1)], [x]), "-1")
    refuses(Nodes(14).add("Reshape", [x, i64(5, 1)], [x]))
    refuses(Nodes(14).add("Reshape", [x, i64(1000, 1)], [x]))
    refuses(Nodes(1).add("Reshape", [x], [x], shape=[1000]), "elements")
    refuses(Nodes(1).add("Reshape", [x], [x], shape=[1 << 40, 1 << 40]))
    refuses(Nodes(14).add("Reshape", [x, i64(2, 3, 0)], [x]), "rank 2")
    refuses(Nodes(14).add("Reshape", [x, i64(2, -3)], [x]), "-3")
    refuses(Nodes(14).add("Reshape", [x, i64(2**62, 2**62)], [x]))


def test_flatten():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3, 4, 5)
        for axis in range(0 if version < 11 else -4, 5):
            nodes.add("Flatten", [x], [x.reshape(int(np.prod(x.shape[:axis] if axis >= 0 else x.shape[:4 + axis])), -1)],
                      axis=axis)
    by_version("Flatten", add)


def axes_node(nodes, op, version, x, axes, want):
    if version < 13:
        nodes.add(op, [x], [want], **({} if axes is None else {"axes": axes}))
    else:
        nodes.add(op, [x] if axes is None else [x, i64(*axes)], [want])


def test_squeeze():
    def add(nodes, version, dtype):
        x = elements(dtype, 1, 3, 1, 2, 1)
        for axes in ((0,), (0, 2), (4, 0), None) + (((-1, 0), (-3,)) if version >= 11 else ()):
            axes_node(nodes, "Squeeze", version, x, axes, x.squeeze(axes))
    by_version("Squeeze", add)
    x = np.zeros((1, 2))
    refuses(Nodes(13).add("Squeeze", [x, i64(1)], [x]), "squeezed")
    refuses(Nodes(13).add("Squeeze", [x, i64(2)], [x]), "axis 2")


def test_unsqueeze():
    def add(nodes, version, dtype):
        x = elements(dtype, 3, 4)
        for axes in ((0,), (1, 3), (2, 0, 1)) + (((-1,), (-2, 0)) if version >= 11 else ()):
            axes_node(nodes, "Unsqueeze", version, x, axes, np.expand_dims(x, axes))
    by_version("Unsqueeze", add)
    x = np.zeros((1, 2))
    refuses(Nodes(13).add("Unsqueeze", [x, i64(0, 0)], [x]), "twice")
    refuses(Nodes(13).add("Unsqueeze", [x, i64(*range(20))], [x]))


# Transpose and blocks

def test_transpose():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3, 1, 4)
        nodes.add("Transpose", [x], [x.T])
        for perm in (0, 1, 2, 3), (1, 0, 3, 2), (3, 1, 0, 2):
            nodes.add("Transpose", [x], [x.transpose(perm)], perm=perm)
    by_version("Transpose", add)
    x = elements(np.dtype(np.float32), 70, 3, 90)
    nodes = Nodes(13).add("Transpose", [np.float32(3)], [np.float32(3)])
    for perm in itertools.permutations(range(3)):
        nodes.add("Transpose", [x], [x.transpose(perm)], perm=perm)
    nodes.add("Transpose", [x[:, :0]], [x[:, :0].T]).check()
    refuses(Nodes(13).add("Transpose", [x], [x], perm=[0, 1]), "perm")
    refuses(Nodes(13).add("Transpose", [x], [x], perm=[0, 1, 1]), "perm")


def test_depth_to_space():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 12, 3, 5)
        dcr = x.reshape(2, 2, 2, 3, 3, 5).transpose(0, 3, 4, 1, 5, 2).reshape(2, 3, 6, 10)
        nodes.add("DepthToSpace", [x], [dcr], blocksize=2)
        if version >= 11:
            crd = x.reshape(2, 3, 2, 2, 3, 5).transpose(0, 1, 4, 2, 5, 3).reshape(2, 3, 6, 10)
            nodes.add("DepthToSpace", [x], [crd], blocksize=2, mode="CRD")
    by_version("DepthToSpace", add)
    x = np.zeros((1, 6, 2, 2), np.float32)
    refuses(Nodes(13).add("DepthToSpace", [x], [x], blocksize=2), "multiple")
    refuses(Nodes(13).add("DepthToSpace", [x], [x], blocksize=0), "blocksize")


def test_space_to_depth():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3, 4, 6)
        six = x.reshape(2, 3, 2, 2, 3, 2)
        nodes.add("SpaceToDepth", [x], [six.transpose(0, 3, 5, 1, 2, 4).reshape(2, 12, 2, 3)], blocksize=2)
        if version >= 28:
            nodes.add("SpaceToDepth", [x], [six.transpose(0, 1, 3, 5, 2, 4).reshape(2, 12, 2, 3)], blocksize=2, mode="CRD")
    by_version("SpaceToDepth", add)
    x = np.zeros((0, 3, 0, 0), np.float32)
    refuses(Nodes(13).add("SpaceToDepth", [x], [x], blocksize=2**31 - 1), "dimension")


# Joining and cutting

def test_concat():
    def add(nodes, version, dtype):
        x = [elements(dtype, 2, n, 3) for n in (1, 4, 0, 2)]
        nodes.add("Concat", x, [np.concatenate(x, 1)], axis=1).add("Concat", x[:1], [x[0]], axis=0)
        if version == 1:
            nodes.add("Concat", x, [np.concatenate(x, 1)])
        if version >= 11:
            nodes.add("Concat", [v.transpose(0, 2, 1) for v in x], [np.concatenate(x, 1).transpose(0, 2, 1)], axis=-1)
    by_version("Concat", add)
    x = np.zeros((2, 3))
    refuses(Nodes(13).add("Concat", [x, x.T], [x], axis=0), "joined")
    refuses(Nodes(13).add("Concat", [x, x[0]], [x], axis=0), "joined")


@pytest.mark.parametrize("axis", (0, 1, -1))
def test_split(axis):
    def add(nodes, version, dtype):
        x = elements(dtype, 6, 6, 6)
        if axis < 0 and version < 11:
            return
        lengths = [1, 0, 3, 2]
        parts = np.split(x, np.cumsum(lengths)[:-1], axis)
        if version < 13:
            nodes.add("Split", [x], parts, axis=axis, split=lengths)
        else:
            nodes.add("Split", [x, i64(*lengths)], parts, axis=axis)
        if version < 18:
            nodes.add("Split", [x], np.split(x, 3, axis), axis=axis)
        else:
            nodes.add("Split", [x], np.split(x, 3, axis), axis=axis, num_outputs=3)
            nodes.add("Split", [x], np.split(x, [2, 4], axis), axis=axis, num_outputs=3)
            nodes.add("Split", [x], np.split(x, [2, 4, 6], axis), axis=axis, num_outputs=4)
        if version == 1:
            nodes.add("Split", [x, np.array(lengths).astype(dtype)], parts, axis=axis)
    by_version("Split", add)


def test_split_refuses():
    x = np.zeros((5, 2))
    refuses(Nodes(13).add("Split", [x], [x, x]), "equal parts")
    refuses(Nodes(13).add("Split", [x, i64(2, 2)], [x, x]), "add up to 4")
    refuses(Nodes(13).add("Split", [x, i64(6, -1)], [x, x]), "-1")
    refuses(Nodes(13).add("Split", [x, i64(2**62, 2**62, 2**62, 2**62, 5)], [x] * 5))
    refuses(Nodes(13).add("Split", [x, i64(5)], [x, x]), "outputs")


# Slice

def test_slice_types():
    def add(nodes, version, dtype):
        x = elements(dtype, 4, 5)
        want = x[1:3, 2:]
        if version == 1:
            nodes.add("Slice", [x], [want], starts=[1, 2], ends=[3, 99])
            nodes.add("Slice", [x], [x[:, -3:-1]], starts=[-3], ends=[-1], axes=[1])
        else:
            nodes.add("Slice", [x, i64(1, 2), i64(3, 2**63 - 1)], [want])
            nodes.add("Slice", [x, np.int32([3]), np.int32([-99]), np.int32([1]), np.int32([-2])], [x[:, 3::-2]])
    by_version("Slice", add)


def test_slice_clamping():
    x, nodes = np.arange(7.), Nodes(13)
    big = [-2**63, -2**63 + 1, -100, -8, -7, -1, 0, 1, 6, 7, 8, 2**31 - 1, 2**63 - 1]
    for start, end, step in itertools.product(big, big, (1, 2, 7, 2**63 - 1, -1, -3, -2**63)):
        low, high = (0, 7) if step > 0 else (-1, 6)
        s = min(max(start + 7 if start < 0 else start, 0), high)
        e = min(max(end + 7 if end < 0 else end, low), high)
        nodes.add("Slice", [x, i64(start), i64(end), i64(0), i64(step)], [x[list(range(s, e, step))]])
    nodes.check()


def test_slice_many_axes():
    x, nodes = elements(np.dtype(np.float32), 5, 6, 7), Nodes(13)
    for _ in range(60):
        axes = RNG.permutation(3)[:RNG.integers(1, 4)]
        starts, ends, steps, index = [], [], [], [slice(None)] * 3
        for axis in axes:
            first, last = RNG.integers(0, x.shape[axis], 2)
            step = RNG.choice([-3, -2, -1, 1, 2, 3])
            index[axis] = slice(first, last, step)
            starts.append(first - x.shape[axis] * RNG.integers(0, 2))  # from the end or the beginning
            ends.append(last - x.shape[axis] * RNG.integers(0, 2))
            steps.append(step)
        nodes.add("Slice", [x, i64(*starts), i64(*ends), axes, i64(*steps)], [x[tuple(index)]])
    nodes.check()
    refuses(Nodes(13).add("Slice", [x, i64(0), i64(1), i64(0), i64(0)], [x]), "step")
    refuses(Nodes(13).add("Slice", [x, i64(0), i64(1), i64(3)], [x]), "axis 3")
    refuses(Nodes(13).add("Slice", [x, i64(0, 0), i64(1, 1), i64(1, -2)], [x]), "twice")
    refuses(Nodes(13).add("Slice", [x, i64(0, 0), i64(1)], [x]))


# Pad

PAD_MODES = "constant", "reflect", "edge"


def test_pad_types():
    def add(nodes, version, dtype):
        x, value = elements(dtype, 3, 4), elements(dtype, 1)
        pads = (1, 0, 2, 3)
        width = ((1, 2), (0, 3))
        for mode in PAD_MODES + (("wrap",) if version >= 19 else ()):
            kw = {"constant_values": value.item() if dtype != object else value[0]} if mode == "constant" else {}
            index = np.pad(np.arange(12).reshape(3, 4), width, mode, **({"constant_values": 12} if kw else {}))
            want = np.concatenate([x.reshape(-1), value])[index]
            if version < 11:
                v = float(np.float32(1.5))
                want = np.concatenate([x.reshape(-1), np.array([v]).astype(dtype)])[index]
                nodes.add("Pad", [x], [want], mode=mode, value=v, **{"paddings" if version == 1 else "pads": pads})
            else:
                nodes.add("Pad", [x, i64(*pads), value.reshape(())], [want], mode=mode)
                if mode == "constant" and dtype.name != "float8_e8m0fnu":  # has no zero
                    zero = np.array([""] if dtype == object else [0]).astype(dtype)
                    nodes.add("Pad", [x, i64(*pads)], [np.concatenate([x.reshape(-1), zero])[index]])
    by_version("Pad", add)


@pytest.mark.parametrize("mode", PAD_MODES + ("wrap",))
def test_pad(mode):
    nodes = Nodes(19)
    for _ in range(50):
        x = elements(np.dtype(np.float32), *RNG.integers(1, 5, 3))
        axes = RNG.permutation(3)[:RNG.integers(1, 4)]
        pads = RNG.integers(-2, 8, (2, len(axes)))
        cut, width = [slice(None)] * 3, [(0, 0)] * 3
        for a, (b, e) in zip(axes, pads.T):
            if x.shape[a] + min(b, 0) + min(e, 0) < 1:
                b, e = 0, 3
            pads[:, list(axes).index(a)] = b, e
            cut[a] = slice(max(-b, 0), x.shape[a] - max(-e, 0))
            width[a] = max(b, 0), max(e, 0)
        want = np.pad(x[tuple(cut)], width, mode)
        nodes.add("Pad", [x, pads.reshape(-1), None, axes], [want], mode=mode)
    nodes.check()


def test_pad_refuses():
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(19).add("Pad", [x, i64(0, -2, 0, -2)], [x]))
    refuses(Nodes(19).add("Pad", [x, i64(1, 1)], [x]), "pads")
    refuses(Nodes(19).add("Pad", [x, i64(2**62, 0, 2**62, 0)], [x]))
    refuses(Nodes(19).add("Pad", [x, i64(2**40, 2**40, 0, 0)], [x]))
    refuses(Nodes(19).add("Pad", [x[:, :0], i64(0, 1, 0, 0)], [x], mode="edge"), "pad")
    refuses(Nodes(19).add("Pad", [x, i64(0, 1, 0, 0)], [x], mode="mirror"), "mode")
    nodes = Nodes(19).add("Pad", [x[:, :0], i64(0, 1, 0, 1), np.float32(5)], [np.full((2, 2), 5, np.float32)])
    nodes.add("Pad", [x, i64(0, -5, 0, 4), np.float32(5)], [np.full((2, 2), 5, np.float32)]).check()


def test_center_crop_pad():
    def add(nodes, version, dtype):
        if dtype == object:
            return
        x = elements(dtype, 5, 6, 3)
        for h, w in itertools.product((0, 1, 2, 4, 5, 6, 8, 9), (1, 5, 6, 9)):
            want = np.zeros((h, w, 3), dtype)
            at, of = [], []
            for have, wish in (5, h), (6, w):
                cut, room = max(have - wish, 0), max(wish - have, 0)
                at.append(slice(room // 2, room // 2 + min(have, wish)))
                of.append(slice(cut // 2, cut // 2 + min(have, wish)))
            want[tuple(at)] = x[tuple(of)]
            nodes.add("CenterCropPad", [x, i64(h, w)], [want], axes=[0, -2])
        nodes.add("CenterCropPad", [x, i64(5, 6, 3)], [x])
    by_version("CenterCropPad", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(18).add("CenterCropPad", [x, i64(2, -1)], [x]), "-1")
    refuses(Nodes(18).add("CenterCropPad", [x, i64(2)], [x]), "axes")


# Repeating

def test_expand():
    def add(nodes, version, dtype):
        x = elements(dtype, 3, 1)
        for shape in (3, 4), (2, 1, 6), (1, 1), (3, 0), (1,), ():
            nodes.add("Expand", [x, np.array(shape, np.int64)], [np.broadcast_to(x, np.broadcast_shapes(x.shape, shape))])
    by_version("Expand", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(13).add("Expand", [x, i64(2)], [x]), "broadcast")
    refuses(Nodes(13).add("Expand", [x, i64(2**40, 2**40, 1, 1)], [x]))
    refuses(Nodes(13).add("Expand", [x, i64(-1, 3)], [x]))


def test_tile():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3)
        if version == 1:
            if dtype.kind == "f":
                tiles = np.array([4]).astype(dtype), np.array([1]).astype(dtype)
                nodes.add("Tile", [x, *tiles], [np.tile(x, (1, 4))])
            return
        for repeats in (1, 1), (3, 1), (1, 7), (5, 3), (0, 2):
            nodes.add("Tile", [x, i64(*repeats)], [np.tile(x, repeats)])
    by_version("Tile", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(13).add("Tile", [x, i64(2)], [x]), "repeats")
    refuses(Nodes(13).add("Tile", [x, i64(2**40, 2**40)], [x]))
    refuses(Nodes(13).add("Tile", [x, i64(-1, 1)], [x]))


def test_reverse_sequence():
    def add(nodes, version, dtype):
        x = elements(dtype, 4, 3, 2)
        for batch, time in (1, 0), (0, 1):
            lens = RNG.integers(0, x.shape[time] + 1, x.shape[batch])
            want = x.copy()
            for b, n in enumerate(lens):
                row = want.swapaxes(0, batch)[b] if batch == 0 else want[:, b]
                row[:n] = row[:n][::-1].copy()
            nodes.add("ReverseSequence", [x, lens], [want], batch_axis=batch, time_axis=time)
    by_version("ReverseSequence", add)
    x = np.zeros((2, 3), np.float32)
    refuses(Nodes(13).add("ReverseSequence", [x, i64(3, 1, 1)], [x]), "length 3")
    refuses(Nodes(13).add("ReverseSequence", [x, i64(1, 1)], [x]), "lengths")


def test_trilu():
    def add(nodes, version, dtype):
        x = elements(dtype, 2, 3, 5)
        for k in (0, 1, -1, 4, 9, -9, 2**62, -2**62):
            near = int(np.clip(k, -10, 10))
            nodes.add("Trilu", [x, np.int64(k)], [np.where(np.triu(np.ones((3, 5)), near), x, np.zeros(1, dtype))])
            nodes.add("Trilu", [x, np.int64(k)], [np.where(np.tril(np.ones((3, 5)), near), x, np.zeros(1, dtype))],
                      upper=0)
        nodes.add("Trilu", [x[:, :0]], [x[:, :0]])
    def numbers(nodes, version, dtype):
        if dtype != object:
            add(nodes, version, dtype)
    by_version("Trilu", numbers)
