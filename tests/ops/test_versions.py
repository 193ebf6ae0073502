"""Operators whose meaning or form changed from version to version, at each of them."""
import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from nodes import REFERENCE, Nodes, refuses, versions_of
from test_control import check, run

F, I = np.float32, np.int64
RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 3, 4)).astype(F)
BOTH = pytest.mark.parametrize("options", [(), REFERENCE])


def softmax(x, axes):
    e = np.exp(x.astype(float) - x.max(axes, keepdims=True))
    return e / e.sum(axes, keepdims=True)


@BOTH
@pytest.mark.parametrize("version", versions_of("Softmax"))
def test_softmax(version, options):
    """Until 13 over everything from the axis on, which is 1; then along the axis, which is the last."""
    nodes = Nodes(version)
    for axis in (None, 0, 1, 2) + ((-1, -2) if version >= 11 else ()):
        at = (1 if version < 13 else -1) if axis is None else axis
        axes = tuple(range(at % 3, 3)) if version < 13 else at
        y = softmax(X, axes)
        attrs = {} if axis is None else {"axis": axis}
        nodes.add("Softmax", [X], [y.astype(F)], **attrs).add("LogSoftmax", [X], [np.log(y).astype(F)], **attrs)
        nodes.add("Hardmax", [X], [(X == X.max(axes, keepdims=True)).astype(F)], **attrs)
    nodes.check(ulps=16, atol=1e-6, options=options)


@pytest.mark.parametrize("version", versions_of("Squeeze"))
def test_squeeze(version):
    x, nodes = X.reshape(1, 2, 1, 12), Nodes(version)
    for axes, shape in ((None, (2, 12)), ([0], (2, 1, 12)), ([2, 0], (2, 12))) + (((([-2]), (1, 2, 12)),) if version >= 11 else ()):
        inputs, attrs = ([x], {"axes": axes}) if version < 13 and axes else ([x] + ([np.array(axes)] if axes else []), {})
        nodes.add("Squeeze", inputs, [x.reshape(shape)], **attrs)
    for axes, shape in ([0], (1, 2, 3, 4)), ([4, 1], (2, 1, 3, 4, 1)):
        nodes.add("Unsqueeze", *((([X], [X.reshape(shape)])) if version < 13 else ([X, np.array(axes)], [X.reshape(shape)])),
                  **({"axes": axes} if version < 13 else {}))
    nodes.check()


@BOTH
@pytest.mark.parametrize("op,f", [("Sum", np.sum), ("Mean", np.mean), ("Max", np.max), ("Min", np.min), ("Prod", np.prod)])
def test_reduce_axes(op, f, options):
    """Axes are an attribute, then an input: of ReduceSum since 13, of the others since 18, with noop_with_empty_axes."""
    for version in versions_of("Reduce" + op):
        as_input, nodes = version >= (13 if op == "Sum" else 18), Nodes(version)
        for axes in None, [1], [0, 2], [2, 1]:
            for keep in 0, 1:
                y = f(X.astype(float), tuple(axes) if axes else None, keepdims=bool(keep)).astype(F)
                inputs = [X] + ([np.array(axes)] if axes and as_input else [])
                nodes.add("Reduce" + op, inputs, [y], keepdims=keep, **({"axes": axes} if axes and not as_input else {}))
        if as_input:
            nodes.add("Reduce" + op, [X, np.array([], I)], [f(X.astype(float), keepdims=True).astype(F)])
            nodes.add("Reduce" + op, [X, np.array([], I)], [X], noop_with_empty_axes=1).add("Reduce" + op, [X], [X], noop_with_empty_axes=1)
        nodes.check(ulps=32, atol=1e-6, options=options)


@BOTH
@pytest.mark.parametrize("version", versions_of("Clip"))
def test_clip(version, options):
    """Bounds are attributes, then inputs; integers since 12; where the least is above the most, the most."""
    nodes = Nodes(version)
    if version < 11:
        nodes.add("Clip", [X], [np.clip(X, -.5, .25)], min=-.5, max=.25).add("Clip", [X], [np.maximum(X, F(.1))], min=.1)
        nodes.add("Clip", [X], [X])
    else:
        low, high = F(-.5), F(.25)
        nodes.add("Clip", [X, low, high], [np.clip(X, low, high)]).add("Clip", [X, None, high], [np.minimum(X, high)]).add("Clip", [X], [X])
    if version >= 12:
        x = np.arange(-5, 5)
        nodes.add("Clip", [x, I(-2), I(3)], [np.clip(x, -2, 3)]).add("Clip", [x, I(3), I(-2)], [np.full(10, -2)])
    nodes.check(options=options)


@pytest.mark.parametrize("version", versions_of("Pad"))
def test_pad(version):
    nodes = Nodes(version)
    modes = [("constant", {}), ("edge", {}), ("reflect", {})] + ([("wrap", {})] if version >= 19 else [])
    for mode, more in modes:
        for pads in [0, 1, 2, 1, 0, 1], [0, 0, 0, 0, 2, 3]:
            wide = list(zip(pads[:3], pads[3:]))
            y = np.pad(X, wide, mode=mode)
            if version == 1:
                nodes.add("Pad", [X], [y], paddings=pads, mode=mode)
            elif version == 2:
                nodes.add("Pad", [X], [y], pads=pads, mode=mode)
            else:
                nodes.add("Pad", [X, np.array(pads)], [y], mode=mode)
    cut = [0, -1, 1, 0, 0, -2]
    y = np.pad(X[:, 1:, :2], [(0, 0), (0, 0), (1, 0)], constant_values=7)
    if version >= 11:
        nodes.add("Pad", [X, np.array(cut), F(7)], [y])
    else:
        nodes.add("Pad", [X], [y], **{"paddings" if version == 1 else "pads": cut}, value=7.)
    if version >= 18:
        nodes.add("Pad", [X, np.array([2, 1, 0, 3]), None, np.array([-1, 0])], [np.pad(X, [(1, 3), (0, 0), (2, 0)])])
    nodes.check()


@pytest.mark.parametrize("version", versions_of("Slice"))
def test_slice(version):
    nodes = Nodes(version)
    for starts, ends, axes, want in (([1], [3], [1], X[:, 1:3]), ([0, -3], [1, 100], [0, 2], X[:1, :, -3:]), ([0, 1], [2, 2], None, X[:2, 1:2])):
        if version == 1:
            nodes.add("Slice", [X], [want], starts=starts, ends=ends, **({"axes": axes} if axes else {}))
        else:
            nodes.add("Slice", [X, np.array(starts), np.array(ends)] + ([np.array(axes)] if axes else []), [want])
    if version >= 10:
        for step in 2, 3, -1, -2:
            full = ([0], [100]) if step > 0 else ([-1], [-100])
            nodes.add("Slice", [X, *map(np.array, full), np.array([-1]), np.array([step])], [X[:, :, ::step]])
            nodes.add("Slice", [X, *(np.array(v, np.int32) for v in full), np.array([1], np.int32), np.array([step], np.int32)], [X[:, ::step]])
    nodes.check()


@pytest.mark.parametrize("version", versions_of("TopK"))
def test_top_k(version):
    """k is an attribute, then an input; smallest and unsorted since 11."""
    nodes = Nodes(version)
    for axis in 0, 1, 2, -1:
        for k in 1, 2:
            order = np.argsort(-X, axis, kind="stable").take(range(k), axis)
            inputs, attrs = ([X], {"k": k}) if version == 1 else ([X, np.array([k])], {})
            nodes.add("TopK", inputs, [np.take_along_axis(X, order, axis), order], axis=axis, **attrs)
            if version >= 11:
                order = np.argsort(X, axis, kind="stable").take(range(k), axis)
                nodes.add("TopK", inputs, [np.take_along_axis(X, order, axis), order], axis=axis, largest=0)
                nodes.add("TopK", inputs, [lambda y, axis=axis, k=k: (np.sort(y, axis) == np.sort(X, axis).take(range(-k, 0), axis)).all(),
                                              lambda y: y.dtype == I], axis=axis, sorted=0)
    nodes.check()


@pytest.mark.parametrize("version", [1, 7, 9])
def test_upsample(version):
    x = X.reshape(1, 2, 3, 4)
    scales = [1, 1, 2, 3]
    nodes, y = Nodes(version), x.repeat(2, 2).repeat(3, 3)
    if version == 1:
        nodes.add("Upsample", [x], [y], height_scale=2., width_scale=3.)
    elif version == 7:
        nodes.add("Upsample", [x], [y], scales=[float(s) for s in scales])
    else:
        nodes.add("Upsample", [x, F(scales)], [y])
    nodes.check()
    refuses(Nodes(10).add("Upsample", [x, F(scales)], [y]))


def linear(x, n, position):
    """Along the last axis: element i is at position(i) of the input, held at the borders."""
    at = np.clip([position(i) for i in range(n)], 0, x.shape[-1] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, x.shape[-1] - 1)
    return (x[..., low] * (1 - (at - low)) + x[..., high] * (at - low)).astype(F)


@BOTH
@pytest.mark.parametrize("version", versions_of("Resize"))
def test_resize(version, options):
    """Scales alone, then roi and sizes as well, coordinate modes, since 18 axes and antialias, since 19 half_pixel_symmetric."""
    x, nodes = X[:, :, None], Nodes(version)
    whole = x.reshape(2, 3, 1, 4)
    scales = F([1, 1, 1, 2.5])
    if version == 10:
        nodes.add("Resize", [whole, scales], [linear(whole, 10, lambda i: i / 2.5)], mode="linear")
        nodes.add("Resize", [whole, F([1, 1, 1, 2])], [whole.repeat(2, 3)], mode="nearest").check(ulps=4, atol=1e-6, options=options)
        return
    roi = None if version >= 13 else np.array([], F)
    modes = {"half_pixel": lambda i: (i + .5) / 2.5 - .5, "asymmetric": lambda i: i / 2.5, "align_corners": lambda i: i * 3 / 9,
             "pytorch_half_pixel": lambda i: (i + .5) / 2.5 - .5}
    if version >= 19:
        modes["half_pixel_symmetric"] = modes["half_pixel"]  # ten elements are ten exactly: nothing to centre
    for mode, position in modes.items():
        want = linear(whole, 10, position)
        nodes.add("Resize", [whole, roi, scales], [want], mode="linear", coordinate_transformation_mode=mode)
        nodes.add("Resize", [whole, roi, None if version >= 13 else np.array([], F), np.array([2, 3, 1, 10])], [want], mode="linear",
                  coordinate_transformation_mode=mode)
        if version >= 18:
            nodes.add("Resize", [whole, None, F([2.5])], [want], mode="linear", coordinate_transformation_mode=mode, axes=[-1])
    for name, nearest in (("floor", np.floor), ("ceil", np.ceil), ("round_prefer_floor", lambda v: np.ceil(v - .5)),
                          ("round_prefer_ceil", lambda v: np.floor(v + .5))):
        at = np.clip(nearest(np.arange(8) / 2), 0, 3).astype(int)
        nodes.add("Resize", [whole, roi, F([1, 1, 1, 2])], [whole[..., at]], mode="nearest", nearest_mode=name, coordinate_transformation_mode="asymmetric")
    nodes.check(ulps=4, atol=1e-6, options=options)


@pytest.mark.parametrize("version", [19, 21, 23, 24])
def test_cast_saturates(version):
    """Float8 since 19: out of range is the greatest, or NaN and infinity where saturate is 0."""
    x = F([1e9, -1e9, np.inf, np.nan, 1.3, 0])
    for number, dtype in ((TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn), (TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2)):
        most = float(ml_dtypes.finfo(dtype).max)
        near = x[4:5].astype(dtype).astype(F)[0]
        saturated = F([most, -most, most, np.nan, near, 0]).astype(dtype)
        plain = (F([np.nan] * 4 + [near, 0]) if dtype == ml_dtypes.float8_e4m3fn else F([np.inf, -np.inf, np.inf, np.nan, near, 0])).astype(dtype)
        Nodes(version).add("Cast", [x], [saturated], to=number).add("Cast", [x], [plain], to=number, saturate=0).check()


@pytest.mark.parametrize("opset", [8, 9])
def test_scan(opset):
    """At 8 in batches, with sequence lengths and directions; since 9 without, and with axes."""
    batch = "[1," if opset == 8 else "["
    x, s = X[0], np.zeros(4, F)
    absent = '"", ' if opset == 8 else ""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]> g (float{batch}4] s, float{batch}3,4] x) => (float{batch}4] e, float{batch}3,4] y)
        {{ e, y = Scan<num_scan_inputs = 1, body = b (float[4] before, float[4] now) => (float[4] after, float[4] out)
        {{ after = Add(before, now) out = Identity(after) }}>({absent}s, x) }}"""
    sums = np.array([x[:i + 1].astype(F).cumsum(0)[-1] for i in range(3)])
    lead = (lambda a: a[None]) if opset == 8 else (lambda a: a)
    check(text, [lead(s), lead(x)], [lead(sums[-1]), lead(sums)])


def test_add_along_an_axis():
    """Until 7 inputs met along an axis that need not be the last: behind a product, and before a Softmax."""
    x, c = RNG.normal(size=(4, 4)).astype(F), np.arange(4, dtype=F)
    head = '<ir_version: 4, opset_import: ["" : 6]> g'
    check(f"""{head} (float[4,4] x) => (float[4,4] y)
        <float[4,4] w = {{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}}, float[4] c = {{0, 1, 2, 3}}>
        {{ m = MatMul(x, w) y = Add<axis = 0, broadcast = 1>(m, c) }}""", [x], [x + c[:, None]])
    q = RNG.normal(size=(2, 4, 4)).astype(F)
    weights = softmax(q @ q.transpose(0, 2, 1) + c[:, None], (2,))
    y, = run(f"""{head} (float[2,4,4] q, float[2,4,4] k, float[4] c) => (float[2,4,4] y)
        {{ m = MatMul(q, k) a = Add<axis = 1, broadcast = 1>(m, c) s = Softmax<axis = 2>(a) y = MatMul(s, q) }}""",
             q, q.transpose(0, 2, 1), c)
    np.testing.assert_allclose(y, weights @ q, rtol=1e-5)
