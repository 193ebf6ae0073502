"""Convolutions, pools and their relatives, stated plainly in NumPy."""
import itertools

import numpy as np
import pytest

from nodes import REFERENCE, Nodes, refuses, versions_of

F = np.float32
RNG = np.random.default_rng(5)
# The largest sums are of 400 products of unit normal numbers: kernels round each to float, the reference but once.
SUMS = 400 * 2.0**-23
CASES = [  # image, kernel, strides, pads, dilations
    ((7,), (3,), (1,), (0, 0), (1,)), ((9,), (4,), (2,), (1, 2), (2,)), ((6, 5), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    ((8, 9), (3, 2), (2, 3), (1, 0, 2, 1), (1, 2)), ((5, 5), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((4, 5, 6), (2, 3, 2), (1, 2, 2), (1, 0, 1, 0, 1, 1), (1, 1, 2)), ((12, 12), (5, 5), (1, 1), (2, 2, 2, 2), (1, 1))]


def windows(x, kernel, strides, pads, dilations, value=0.):
    """[…, outputs…, taps…] of an image [n, c, axes…]."""
    n = len(kernel)
    x = np.pad(x, [(0, 0)] * 2 + list(zip(pads[:n], pads[n:])), constant_values=value)
    out = [(x.shape[2 + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in range(n)]
    result = np.empty((*x.shape[:2], *out, *kernel), x.dtype)
    for at in itertools.product(*map(range, kernel)):
        part = tuple(slice(at[a] * dilations[a], at[a] * dilations[a] + (out[a] - 1) * strides[a] + 1, strides[a]) for a in range(n))
        result[(..., *at)] = x[(slice(None), slice(None), *part)]
    return result


def conv(x, w, b, group, strides, pads, dilations):
    n, (m, c) = w.ndim - 2, w.shape[:2]
    taps = windows(x.astype(float), w.shape[2:], strides, pads, dilations)
    parts = [np.tensordot(taps[:, g * c:(g + 1) * c], w[g * (m // group):(g + 1) * (m // group)].astype(float),
                          ([1, *range(2 + n, 2 + 2 * n)], [1, *range(2, 2 + n)])) for g in range(group)]
    return np.moveaxis(np.concatenate(parts, -1), -1, 1) + b.reshape(-1, *[1] * n)


def attributes(case):
    image, kernel, strides, pads, dilations = case
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("version", versions_of("Conv"))
def test_conv(version, options):
    nodes = Nodes(version)
    for case in CASES:
        for group, c, m in (1, 3, 4), (2, 4, 6), (4, 4, 4), (1, 16, 32), (16, 16, 16):
            x, w, b = RNG.normal(size=(2, c, *case[0])), RNG.normal(size=(m, c // group, *case[1])), RNG.normal(size=m)
            x, w, b = x.astype(F), w.astype(F), b.astype(F)
            y = conv(x, w, b, group, *case[2:]).astype(F)
            nodes.add("Conv", [x, w, b], [y], group=group, **attributes(case))
            nodes.add("Conv", [x, w], [y - b.reshape(-1, *[1] * len(case[0]))], group=group, **attributes(case))
    nodes.check(ulps=4, atol=2e-5 if options else SUMS, options=options)


def test_conv_auto_pad():
    x, w = RNG.normal(size=(1, 2, 7, 8)).astype(F), RNG.normal(size=(3, 2, 3, 4)).astype(F)
    for mode, pads in ("VALID", (0, 0, 0, 0)), ("SAME_UPPER", (1, 1, 1, 1)), ("SAME_LOWER", (1, 1, 1, 1)):
        if mode == "SAME_LOWER":
            pads = (1, 1, 1, 1)
        y = conv(x, w, np.zeros(3), 1, (2, 2), pads, (1, 1)).astype(F)
        Nodes(22).add("Conv", [x, w], [y], auto_pad=mode, strides=[2, 2]).check(atol=2e-5)
    refuses(Nodes(22).add("Conv", [x, w[:, :1]], [x]), "channel")


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("version", versions_of("ConvTranspose"))
def test_conv_transpose(version, options):
    """The transposed matrix of a convolution: y · conv(x) = conv_transpose(y) · x for all x."""
    nodes = Nodes(version)
    for case in CASES:
        for group, c, m in (1, 3, 4), (2, 4, 6), (1, 16, 16):
            image, kernel, strides, pads, dilations = case
            n = len(image)
            w = RNG.normal(size=(c, m // group, *kernel)).astype(F)
            out = [(image[a] + pads[a] + pads[n + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in range(n)]
            x = RNG.normal(size=(2, c, *out)).astype(F)
            y = np.zeros((2, m, *[image[a] + pads[a] + pads[n + a] for a in range(n)]))
            for at in itertools.product(*map(range, kernel)):
                part = tuple(slice(at[a] * dilations[a], at[a] * dilations[a] + (out[a] - 1) * strides[a] + 1, strides[a]) for a in range(n))
                for g in range(group):
                    i, o = slice(g * c // group, (g + 1) * c // group), slice(g * m // group, (g + 1) * m // group)
                    y[(slice(None), o, *part)] += np.einsum("nc...,cm->nm...", x[:, i].astype(float), w[(i, slice(None), *at)].astype(float))
            y = y[(slice(None), slice(None), *[slice(pads[a], pads[a] + image[a]) for a in range(n)])]
            rest = [image[a] - ((out[a] - 1) * strides[a] + dilations[a] * (kernel[a] - 1) + 1 - pads[a] - pads[n + a]) for a in range(n)]
            nodes.add("ConvTranspose", [x, w], [y.astype(F)], group=group, output_padding=rest, **attributes(case))
    nodes.check(ulps=4, atol=2e-5 if options else SUMS, options=options)


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("c, m", [(3, 4), (16, 16)])
def test_conv_transpose_beyond_its_taps(c, m, options):
    """auto_pad makes outputs that no tap of a short kernel meets: pads below 0."""
    x, w = RNG.normal(size=(2, c, 5, 6)).astype(F), RNG.normal(size=(c, m, 1, 1)).astype(F)
    y = np.zeros((2, m, 15, 18), F)
    y[:, :, 1::3, 1::3] = np.einsum("nchw,cm->nmhw", x, w[:, :, 0, 0])
    nodes = Nodes(22)
    for mode in "SAME_UPPER", "SAME_LOWER":
        nodes.add("ConvTranspose", [x, w], [y], strides=[3, 3], auto_pad=mode)
    nodes.check(ulps=4, atol=SUMS, options=options)


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("c, m, group", [(3, 4, 1), (16, 16, 1), (16, 16, 16), (20, 30, 2)])
def test_conv_transpose_of_nothing(c, m, group, options):
    """An image without places still makes those of one kernel less a stride, where only the bias is."""
    b = RNG.normal(size=m).astype(F)
    nodes = Nodes(22)
    for kernel, stride, places in (3, 2, 1), (4, 1, 3), (2, 2, 0):
        x, w = np.zeros((2, c, 0, 3), F), np.ones((c, m // group, kernel, kernel), F)
        y = np.broadcast_to(b[:, None, None], (2, m, places, 2 * stride + kernel))
        nodes.add("ConvTranspose", [x, w, b], [y], strides=[stride] * 2, group=group)
    nodes.check(options=options)
    none = Nodes(22).add("ConvTranspose", [np.zeros((1, c, 0), F), np.ones((c, m // group, 1), F)], [b], strides=[2], group=group)
    refuses(none, "dimension 2 of -1")


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("version", versions_of("MaxPool"))
def test_max_pool(version, options):
    nodes = Nodes(version)
    for case in CASES:
        x = RNG.normal(size=(2, 3, *case[0])).astype(F)
        more = attributes(case)
        dilations = case[4] if version >= 10 else (1,) * len(case[0])
        if version < 10:
            del more["dilations"]
        if any(p >= k for p, k in zip(case[3], case[1] * 2)):
            continue
        taps = windows(x, *case[1:4], dilations, -np.inf)
        axes = tuple(range(-len(case[0]), 0))
        y = taps.max(axes)
        nodes.add("MaxPool", [x], [y], **more).add("MaxPool", [x.astype(float)], [y.astype(float)], **more)
        if version >= 8:
            flat = np.arange(x.size, dtype=float).reshape(x.shape)
            place = windows(flat, *case[1:4], dilations, -1)
            index = np.where(taps == y[(..., *[None] * len(case[0]))], place, -1).max(axes).astype(np.int64)
            nodes.add("MaxPool", [x], [y, index], **more)
    nodes.check(options=options)


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("version", versions_of("AveragePool"))
def test_average_pool(version, options):
    nodes = Nodes(version)
    for case in CASES:
        x = RNG.normal(size=(2, 3, *case[0])).astype(F)
        more = attributes(case)
        dilations = case[4] if version >= 19 else (1,) * len(case[0])
        if version < 19:
            del more["dilations"]
        if any(p >= k for p, k in zip(case[3], case[1] * 2)):
            continue
        axes = tuple(range(-len(case[0]), 0))
        taps, ones = (windows(a.astype(float), *case[1:4], dilations) for a in (x, np.ones_like(x)))
        nodes.add("AveragePool", [x], [(taps.sum(axes) / ones.sum(axes)).astype(F)], **more)
        if version >= 7:
            nodes.add("AveragePool", [x], [taps.mean(axes).astype(F)], count_include_pad=1, **more)
    nodes.check(ulps=8, atol=1e-6, options=options)


@pytest.mark.parametrize("options", [(), REFERENCE])
@pytest.mark.parametrize("version", versions_of("LpPool"))
def test_lp_pool(version, options):
    nodes = Nodes(version)
    for case in CASES:
        x = RNG.normal(size=(2, 3, *case[0])).astype(F)
        more = attributes(case)
        dilations = case[4] if version >= 18 else (1,) * len(case[0])
        if version < 18:
            del more["dilations"]
        if any(p >= k for p, k in zip(case[3], case[1] * 2)):
            continue
        for p in (1, 2, 3):
            taps = np.abs(windows(x.astype(float), *case[1:4], dilations)) ** p
            y = taps.sum(tuple(range(-len(case[0]), 0))) ** (1 / p)
            nodes.add("LpPool", [x], [y.astype(F)], p=float(p) if version == 1 else p, **more)
    nodes.check(ulps=16, atol=1e-6, options=options)


def test_ceil_mode():
    """A last window that only the ceiling brings has fewer elements; one that would start in padding is dropped."""
    x = np.arange(1, 7, dtype=F).reshape(1, 1, 6)
    Nodes(22).add("MaxPool", [x], [F([[[3, 5, 6]]])], kernel_shape=[3], strides=[2], ceil_mode=1) \
        .add("AveragePool", [x], [F([[[2, 4, 5.5]]])], kernel_shape=[3], strides=[2], ceil_mode=1) \
        .add("MaxPool", [x], [F([[[2, 5]]])], kernel_shape=[2], strides=[3], ceil_mode=1, pads=[0, 1]).check()


def test_global_pools():
    for shape in (2, 3, 7), (2, 3, 5, 4), (1, 2, 3, 4, 5):
        x = RNG.normal(size=shape).astype(F)
        axes = tuple(range(2, len(shape)))
        wide = x.astype(float)
        Nodes(22).add("GlobalAveragePool", [x], [wide.mean(axes, keepdims=True).astype(F)]) \
            .add("GlobalMaxPool", [x], [x.max(axes, keepdims=True)]) \
            .add("GlobalLpPool", [x], [(np.abs(wide) ** 3).sum(axes, keepdims=True).astype(F) ** F(1 / 3)], p=3) \
            .add("GlobalLpPool", [x], [np.sqrt((wide ** 2).sum(axes, keepdims=True)).astype(F)]).check(ulps=16, atol=1e-6)
