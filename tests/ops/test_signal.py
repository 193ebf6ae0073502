"""Fourier transforms, windows and mel filters, against NumPy in double."""
import numpy as np
import pytest

from nodes import Nodes, refuses

RNG = np.random.default_rng(11)
F32 = np.float32
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 20, 31, 32, 33, 37, 60, 64, 97, 100, 101, 128, 210, 360, 512, 997, 1000, 1024]


def parts(z):
    return np.stack([z.real, z.imag], -1)


@pytest.mark.parametrize("n", LENGTHS)
def test_dft(n):
    """In double, to a few units of the last place of the largest element, for every length and way."""
    x = RNG.normal(size=(2, n, 3, 2))
    real, z = x[..., :1], x[..., 0] + 1j * x[..., 1]
    nodes = Nodes(20)
    axis, size = np.array(1), np.array(n)
    nodes.add("DFT", [x, None, axis], [parts(np.fft.fft(z, axis=1))])
    nodes.add("DFT", [x, None, axis], [parts(np.fft.ifft(z, axis=1))], inverse=1)
    nodes.add("DFT", [real, None, axis], [parts(np.fft.fft(real[..., 0], axis=1))])
    nodes.add("DFT", [real, None, axis], [parts(np.fft.rfft(real[..., 0], axis=1))], onesided=1)
    half = np.fft.rfft(real[..., 0], axis=1)
    nodes.add("DFT", [parts(half), size, axis], [np.fft.irfft(half, n, axis=1)[..., None]], onesided=1, inverse=1)
    for m in {max(1, n - 3), n + 5}:
        nodes.add("DFT", [x, np.array(m, np.int32), axis], [parts(np.fft.fft(z, m, axis=1))])
        nodes.add("DFT", [parts(half), np.array(m), axis], [np.fft.irfft(half, m, axis=1)[..., None]], onesided=1, inverse=1)
    nodes.check(atol=2e-15 * n)


@pytest.mark.parametrize("opset", [17, 20])
def test_dft_inverse_is_rounded_once(opset):
    """In float32 every element is the exact one rounded, where a transform in float32 leaves noise: of real spectra
    the middle element is real, and that of numpy.fft.ifft, which ONNX's case dft_inverse takes, is not."""
    spectrum = np.arange(100, dtype=np.float32).reshape(1, 10, 10, 1)
    pairs = np.concatenate([spectrum, np.zeros_like(spectrum)], -1)
    turn = np.arange(10, dtype=np.longdouble)[:, None] * np.arange(10) % 10 * 2 * np.arccos(np.longdouble(-1)) / 10
    exact = np.stack([np.einsum("tk,kc->tc", f(turn), spectrum[0, ..., 0].astype(np.longdouble)) / 10
                      for f in (np.cos, np.sin)], -1)[None]
    exact[:, [0, 5], :, 1] = 0
    of_numpy = parts(np.fft.ifft(pairs.view(np.complex64)[..., 0], axis=1)).astype(np.float32)

    def is_nearest(y):
        error, bound = np.abs(y - exact), np.spacing(np.abs(exact).astype(np.float32)) / 2
        return (error <= 1.001 * bound + 1e-14).all() and error.max() <= np.abs(of_numpy - exact).max()
    axis = {"inputs": [pairs], "axis": 1} if opset == 17 else {"inputs": [pairs, None, np.array(1)]}
    Nodes(opset).add("DFT", axis.pop("inputs"), [is_nearest], inverse=1, **axis).check()


def test_dft_axes_and_types():
    x = RNG.normal(size=(3, 4, 5, 2))
    z = x[..., 0] + 1j * x[..., 1]
    nodes = Nodes(20)
    for axis in -4, -3, -2, 0, 1, 2:
        nodes.add("DFT", [x, None, np.array(axis)], [parts(np.fft.fft(z, axis=axis + 1 if axis < 0 else axis))])
    nodes.add("DFT", [x], [parts(np.fft.fft(z, axis=2))])
    nodes.add("DFT", [x.astype(np.float16)], [lambda y: y.dtype == np.float16])
    nodes.check(atol=1e-13)
    Nodes(17).add("DFT", [x], [parts(np.fft.fft(z, axis=1))]).add("DFT", [x], [parts(np.fft.fft(z, axis=0))], axis=0) \
        .add("DFT", [x, np.array(3)], [parts(np.fft.fft(z, 3, axis=-1))], axis=-2).check(atol=1e-13)


def test_dft_refused():
    x = RNG.normal(size=(3, 4, 2))
    for inputs, attrs, word in (([x, None, np.array(2)], {}, "axis"), ([x, np.array(0)], {}, "length"),
                                ([x, np.array(-7)], {}, "length"), ([x, np.array(1 << 40)], {}, "length"),
                                ([x], {"onesided": 1}, "real"), ([x[..., 0]], {}, "signal")):
        refuses(Nodes(20).add("DFT", inputs, [x], **attrs), word)


def frames(x, step, n):
    return np.stack([x[:, i:i + n] for i in range(0, x.shape[1] - n + 1, step)], 1)


@pytest.mark.parametrize("n,step", [(16, 8), (15, 4), (64, 64), (37, 1)])
def test_stft(n, step):
    x = RNG.normal(size=(2, 100, 2))
    real, z, w = x[..., 0], x[..., 0] + 1j * x[..., 1], RNG.uniform(size=n)
    one = [np.array(step), w, np.array(n)]
    nodes = Nodes(17)
    nodes.add("STFT", [real[..., None], *one], [parts(np.fft.rfft(frames(real, step, n) * w))])
    nodes.add("STFT", [real[..., None], one[0], w], [parts(np.fft.rfft(frames(real, step, n) * w))], onesided=1)
    nodes.add("STFT", [real[..., None], one[0], None, one[2]], [parts(np.fft.fft(frames(real, step, n)))], onesided=0)
    nodes.add("STFT", [x, *one], [parts(np.fft.fft(frames(z, step, n) * w))], onesided=0)
    nodes.add("STFT", [real, *one], [parts(np.fft.rfft(frames(real, step, n) * w))])
    nodes.check(atol=1e-13)
    refuses(Nodes(17).add("STFT", [x, *one], [x]), "real")
    refuses(Nodes(17).add("STFT", [x[None], *one], [x]), "rank 4")
    refuses(Nodes(17).add("STFT", [real[..., None], np.array(0), w], [x]), "apart")
    refuses(Nodes(17).add("STFT", [real[..., None], one[0], w, np.array(n + 1)], [x]), "window")


def test_windows():
    nodes = Nodes(17)
    for n in 1, 2, 10, 255:
        for periodic in 0, 1:
            turn = 2 * np.pi * (np.arange(n) / max(n - 1 + periodic, 1) if n + periodic > 1 else np.array([.5]))
            for op, y in (("HannWindow", .5 - .5 * np.cos(turn)), ("HammingWindow", 25 / 46 - 21 / 46 * np.cos(turn)),
                          ("BlackmanWindow", .42 - .5 * np.cos(turn) + .08 * np.cos(2 * turn))):
                nodes.add(op, [np.array(n)], [y], periodic=periodic, output_datatype=11)
                nodes.add(op, [np.array(n, np.int32)], [y.astype(F32)], periodic=periodic)
    nodes.add("HannWindow", [np.array(0)], [np.zeros(0, F32)])
    nodes.check(ulps=2, atol=1e-15)
    refuses(Nodes(17).add("HannWindow", [np.array(-1)], [np.zeros(0)]), "0 or more")


def test_mel():
    """Triangles in mel between rows of the spectrum, on every edge of which the neighbours agree."""
    def mel(bins, size, rate, low, high):
        to_mel, to_hertz = lambda f: 2595 * np.log10(1 + f / 700), lambda m: 700 * (10 ** (m / 2595) - 1)
        edges = to_hertz(to_mel(low) + np.arange(bins + 2) * (to_mel(high) - to_mel(low)) / (bins + 2))
        row = np.floor((size + 1) * edges / rate).astype(int)
        y = np.zeros((size // 2 + 1, bins))
        for i, (a, b, c) in enumerate(zip(row, row[1:], row[2:])):
            y[a:b + 1, i] = 1 if a == b else (np.arange(a, b + 1) - a) / (b - a)
            if c > b:
                y[b:c, i] = (c - np.arange(b, c)) / (c - b)
        return y
    nodes = Nodes(17)
    for bins, size, rate, low, high in (8, 16, 8192, 0, 4096), (40, 512, 16000, 20, 7600), (80, 1024, 22050, 0, 8000):
        inputs = [np.array(v) for v in (bins, size, rate)] + [np.array(v, F32) for v in (low, high)]
        nodes.add("MelWeightMatrix", inputs, [mel(bins, size, rate, low, high).astype(F32)])
    nodes.check(ulps=1)
    inputs = [np.array(v) for v in (8, 16, 8192)] + [np.array(v, F32) for v in (0, 40960)]
    refuses(Nodes(17).add("MelWeightMatrix", inputs, [np.zeros(1)]), "spectrum")
