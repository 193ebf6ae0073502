"""Convolutions with a Fourier basis, as sessions run them: by fast transforms, whatever the order of the rows, and left alone
where the weights are anything else. Against sums in double, and the same bits for every ISA and number of threads."""
import pathlib
import tempfile

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nodes as lib
from test_conv import Net, run


def basis(n, bins, order="real imaginary", sign=1, window=None):
    """Weights [rows, n] in double."""
    w = np.hanning(n + 1)[:-1] + 0.01 if window is None else window
    angle = 2 * np.pi * (np.arange(bins)[:, None] * np.arange(n) % n) / n
    parts = {"real": w * np.cos(angle), "imaginary": -sign * w * np.sin(angle)}
    if order == "turns":
        return np.stack([parts["real"], parts["imaginary"]], 1).reshape(2 * bins, n)
    return np.concatenate([parts[name] for name in order.split()])


def conv(net, w, rank=3, x="x", **attrs):
    net.n += 1
    w = w.reshape(len(w), *[1] * (rank - 2), -1).astype(np.float32)
    net.weights.append(numpy_helper.from_array(w, f"w{net.n}"))
    return net.node("Conv", [x, f"w{net.n}"], **attrs)


def operators(folder, *options):
    return [operator for operator, _ in lib.profile(folder / "model.onnx", "--inputs", folder / "in.npz", *options)]


def check(net, y, fires):
    """The model's results, all of it in double beside; how many transforms it runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(net.model(y), folder / "model.onnx")
        x = net.rng.standard_normal(net.given).astype(np.float32)
        np.savez(folder / "in.npz", x=x)
        want = run(folder, "--float64")
        bits = run(folder, "--threads", "1", INFOLD_CPU="ref")
        assert bits.shape == want.shape
        np.testing.assert_allclose(bits, want, rtol=0, atol=2e-6 * float(np.abs(want).max()))
        for isa, threads in ("avx2", "1"), ("avx512", "1"), ("avx512", "3"):
            assert run(folder, "--threads", threads, INFOLD_CPU=isa).tobytes() == bits.tobytes(), (isa, threads)
        assert operators(folder).count("Spectrum") == fires
        assert "Spectrum" not in operators(folder, "--exact-conv")
        if len(x) > 1:
            np.savez(folder / "in.npz", x=x[1:2])
            assert run(folder, "--threads", "1").tobytes() == bits[1:2].tobytes()


def net(shape, seed=1):
    n = Net(np.random.default_rng(seed), ["N", *shape[1:]])
    n.given = shape
    return n


@pytest.mark.parametrize("order", ["real", "imaginary", "real imaginary", "imaginary real", "turns"])
@pytest.mark.parametrize("sign", [1, -1])
def test_orders(order, sign):
    n = net([2, 1, 3000])
    y = conv(n, basis(256, 129, order, sign), strides=[100])
    check(n, y, 1)


@pytest.mark.parametrize("length,bins", [(128, 65), (160, 81), (200, 90), (400, 201), (512, 257), (640, 300), (1024, 513)])
def test_lengths(length, bins):
    n = net([3, 1, 5 * length + 17], length)
    y = conv(n, basis(length, bins), strides=[length // 3])
    check(n, y, 1)


def test_images():
    n = net([2, 1, 1, 2000])
    y = conv(n, basis(256, 129), rank=4, strides=[1, 64], pads=[0, 100, 0, 128])
    check(n, y, 1)


def test_two_convolutions():
    """One transform for both halves."""
    n = net([2, 1, 4000])
    re = conv(n, basis(512, 257, "real"), strides=[160])
    im = conv(n, basis(512, 257, "imaginary"), strides=[160])
    power = n.node("Add", [n.node("Mul", [re, re]), n.node("Mul", [im, im])])
    check(n, n.node("Concat", [power, im], axis=1), 1)


def test_two_windows():
    n = net([2, 1, 4000])
    re = conv(n, basis(512, 257, "real"), strides=[160])
    im = conv(n, basis(512, 257, "imaginary", window=np.hamming(512)), strides=[160])
    check(n, n.node("Concat", [im, re], axis=1), 2)


def test_window_with_zeros():
    n = net([1, 1, 4000])
    y = conv(n, basis(512, 257, window=np.pad(np.hanning(400), 56)), strides=[128])
    check(n, y, 1)


def test_auto_pad():
    n = net([1, 1, 900])
    y = conv(n, basis(128, 65), strides=[40], auto_pad="VALID")
    check(n, y, 1)


def test_one_frame():
    n = net([2, 1, 256])
    y = conv(n, basis(256, 129))
    check(n, y, 1)


def wrong_weight(w):
    w[17, 30] += 3e-6


def noise(w):
    w += np.random.default_rng(3).standard_normal(w.shape) * 1e-5


def wrong_bin(w):
    w[[20, 21]] = w[[21, 20]]


@pytest.mark.parametrize("change", [wrong_weight, noise, wrong_bin])
def test_other_weights(change):
    w = basis(256, 129)
    change(w)
    n = net([1, 1, 1500])
    y = conv(n, w, strides=[64])
    check(n, y, 0)


def test_infinite_weights():
    w = basis(256, 129)
    w[4, 4] = np.inf
    n = net([1, 1, 1500])
    y = conv(n, w, strides=[64])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(n.model(y), folder / "model.onnx")
        np.savez(folder / "in.npz", x=np.ones(n.given, np.float32))
        assert "Spectrum" not in operators(folder)


@pytest.mark.parametrize("length,attrs", [(96, {}), (254, {}), (256, {"dilations": [2]})])
def test_others(length, attrs):
    n = net([1, 1, 1500])
    y = conv(n, basis(length, length // 2 + 1), strides=[64], **attrs)
    check(n, y, 0)


def test_too_short_a_signal():
    n = net([1, 1, "L"])
    y = conv(n, basis(256, 129), strides=[64])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        onnx.save(n.model(y), folder / "model.onnx")
        np.savez(folder / "in.npz", x=np.zeros([1, 1, 100], np.float32))
        for options in [], ["--exact-conv"]:
            done = lib.subprocess.run([*lib.COMMAND, "run", folder / "model.onnx", "--inputs", folder / "in.npz", *options],
                                      capture_output=True, text=True)
            assert done.returncode > 0, (options, done.stdout)
