#!/usr/bin/env python3
"""Train the digit classifier and write digits.onnx and digits_test.npz beside this file.

usage: make_digits.py [--out DIR]        needs: numpy scikit-learn onnx onnxruntime

The data are scikit-learn's 1,797 scans of handwritten digits, 8x8 grey, scaled to 0..1; a quarter of each class is
held out. The network is Conv-BatchNormalization-Relu throughout, with a residual Add, a depthwise convolution and a
Gemm, and is written unfolded, as a trainer would export it. Training is plain NumPy: each layer below knows its own
derivative. Running statistics follow ONNX: running = running * momentum + batch * (1 - momentum), variance of the
population.
"""

import argparse
import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one order of summation, so that two runs agree bit for bit

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import onnxruntime
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED, EPOCHS, BATCH, RATE, DECAY = 7, 40, 50, 0.08, 5e-4
EPSILON, MOMENTUM = 1e-5, 0.9
HERE = os.path.dirname(os.path.abspath(__file__))


def windows(x, k):
    """x [N,C,H,W], zero-padded to keep its size, as k x k windows [N,C,H,W,k,k] (a view)."""
    p = k // 2
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))), (k, k), axis=(2, 3))


class Layer:
    """One node: `params` are learned, `buffers` are tracked; `grads` mirrors params after backward."""

    def __init__(self, name, op_type, params=None, buffers=None, **attributes):
        self.name, self.op_type, self.attributes = name, op_type, attributes
        self.params, self.buffers, self.grads = params or {}, buffers or {}, {}


class Conv(Layer):
    """Stride 1, same size, no bias: what follows is always a BatchNormalization."""

    def __init__(self, rng, name, c_in, c_out, k):
        w = rng.normal(0, np.sqrt(2 / (c_in * k * k)), (c_out, c_in, k, k))
        super().__init__(name, "Conv", {"weight": w}, kernel_shape=[k, k], pads=[k // 2] * 4)
        self.k = k

    def columns(self, x):
        """[N*H*W, C*k*k]: one row per output pixel."""
        return windows(x, self.k).transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * self.k**2)

    def apply(self, columns, w, shape):
        n, _, h, wd = shape
        return (columns @ w.reshape(len(w), -1).T).reshape(n, h, wd, -1).transpose(0, 3, 1, 2)

    def forward(self, x, train):
        self.cols = self.columns(x)
        return self.apply(self.cols, self.params["weight"], x.shape)

    def backward(self, dy):
        w = self.params["weight"]
        flat = dy.transpose(0, 2, 3, 1).reshape(-1, len(w))
        self.grads["weight"] = (flat.T @ self.cols).reshape(w.shape)
        turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        return self.apply(self.columns(dy), turned, dy.shape)


class DepthwiseConv(Layer):
    """One k x k filter per channel (group = channels)."""

    def __init__(self, rng, name, c, k):
        w = rng.normal(0, np.sqrt(2 / (k * k)), (c, 1, k, k))
        super().__init__(name, "Conv", {"weight": w}, kernel_shape=[k, k], pads=[k // 2] * 4, group=c)
        self.k = k

    def forward(self, x, train):
        self.win = windows(x, self.k)
        return np.einsum("nchwij,cij->nchw", self.win, self.params["weight"][:, 0])

    def backward(self, dy):
        w = self.params["weight"][:, 0]
        self.grads["weight"] = np.einsum("nchwij,nchw->cij", self.win, dy)[:, None]
        return np.einsum("nchwij,cij->nchw", windows(dy, self.k), w[:, ::-1, ::-1])


class BatchNorm(Layer):
    def __init__(self, name, c):
        super().__init__(
            name,
            "BatchNormalization",
            {"scale": np.ones(c), "bias": np.zeros(c)},
            {"mean": np.zeros(c), "var": np.ones(c)},
            epsilon=EPSILON,
            momentum=MOMENTUM,
        )

    def statistics(self, x, train):
        run = self.buffers
        if not train:
            return run["mean"], run["var"]
        batch = {"mean": x.mean(axis=(0, 2, 3)), "var": x.var(axis=(0, 2, 3))}
        for k, v in batch.items():
            run[k] = run[k] * MOMENTUM + v * (1 - MOMENTUM)
        return batch["mean"], batch["var"]

    def forward(self, x, train):
        mean, var = self.statistics(x, train)
        self.inv_std = 1 / np.sqrt(var + EPSILON)
        self.hat = (x - mean[:, None, None]) * self.inv_std[:, None, None]
        return self.hat * self.params["scale"][:, None, None] + self.params["bias"][:, None, None]

    def backward(self, dy):
        """The batch statistics depend on x too (Ioffe and Szegedy 2015, section 3)."""
        axes, n = (0, 2, 3), dy.size // dy.shape[1]
        self.grads["bias"] = dy.sum(axis=axes)
        self.grads["scale"] = (dy * self.hat).sum(axis=axes)
        centred = dy - (self.grads["bias"] / n)[:, None, None] - self.hat * (self.grads["scale"] / n)[:, None, None]
        return centred * (self.params["scale"] * self.inv_std)[:, None, None]


class Relu(Layer):
    def __init__(self, name):
        super().__init__(name, "Relu")

    def forward(self, x, train):
        self.on = x > 0
        return x * self.on

    def backward(self, dy):
        return dy * self.on


class Pool(Layer):
    """2 x 2 windows, stride 2; the gradient goes to the (first) largest, or to all four alike."""

    def __init__(self, name, op_type):
        super().__init__(name, op_type, kernel_shape=[2, 2], strides=[2, 2])

    def forward(self, x, train):
        n, c, h, w = x.shape
        self.shape = x.shape
        four = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
        if self.op_type == "AveragePool":
            self.share = np.full_like(four, 0.25)
            return four.mean(axis=-1)
        self.share = (np.arange(4) == four.argmax(axis=-1)[..., None]).astype(x.dtype)
        return four.max(axis=-1)

    def backward(self, dy):
        n, c, h, w = self.shape
        four = (self.share * dy[..., None]).reshape(n, c, h // 2, w // 2, 2, 2)
        return four.transpose(0, 1, 2, 4, 3, 5).reshape(self.shape)


class Flatten(Layer):
    def __init__(self, name):
        super().__init__(name, "Flatten", axis=1)

    def forward(self, x, train):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy):
        return dy.reshape(self.shape)


class Gemm(Layer):
    def __init__(self, rng, name, n_in, n_out):
        w = rng.normal(0, np.sqrt(1 / n_in), (n_out, n_in))
        super().__init__(name, "Gemm", {"weight": w, "bias": np.zeros(n_out)}, transB=1)

    def forward(self, x, train):
        self.x = x
        return x @ self.params["weight"].T + self.params["bias"]

    def backward(self, dy):
        self.grads = {"weight": dy.T @ self.x, "bias": dy.sum(axis=0)}
        return dy @ self.params["weight"]


class Residual:
    """relu(x + body(x)); the Add and the Relu are nodes of the written graph."""

    def __init__(self, name, body):
        self.name, self.body, self.relu = name, body, Relu(f"{name}.relu2")

    def forward(self, x, train):
        y = x
        for layer in self.body:
            y = layer.forward(y, train)
        return self.relu.forward(x + y, train)

    def backward(self, dy):
        dy = self.relu.backward(dy)
        dx = dy
        for layer in reversed(self.body):
            dx = layer.backward(dx)
        return dx + dy


def build(rng):
    return [
        Conv(rng, "stem.conv", 1, 16, 3),
        BatchNorm("stem.bn", 16),
        Relu("stem.relu"),
        Residual(
            "block",
            [
                Conv(rng, "block.conv1", 16, 16, 3),
                BatchNorm("block.bn1", 16),
                Relu("block.relu1"),
                Conv(rng, "block.conv2", 16, 16, 3),
                BatchNorm("block.bn2", 16),
            ],
        ),
        Pool("pool1", "MaxPool"),
        DepthwiseConv(rng, "mix.depthwise", 16, 3),
        BatchNorm("mix.bn1", 16),
        Relu("mix.relu1"),
        Conv(rng, "mix.pointwise", 16, 32, 1),
        BatchNorm("mix.bn2", 32),
        Relu("mix.relu2"),
        Pool("pool2", "AveragePool"),
        Flatten("flatten"),
        Gemm(rng, "classifier", 128, 10),
    ]


def flat(net):
    """The layers of the net in order, those inside residual blocks included."""
    for layer in net:
        if isinstance(layer, Residual):
            yield from layer.body
            yield layer.relu
        else:
            yield layer


def cast(net, dtype):
    for layer in flat(net):
        for d in (layer.params, layer.buffers):
            for k in d:
                d[k] = d[k].astype(dtype)


def forward(net, x, train=False):
    for layer in net:
        x = layer.forward(x, train)
    return x


def step(net, velocity, x, label, rate):
    """One step of SGD with Nesterov momentum on softmax cross-entropy; decay on matrices and filters only."""
    logits = forward(net, x, train=True)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(label)), label] -= 1
    dy = (p / len(label)).astype(x.dtype)
    for layer in reversed(net):
        dy = layer.backward(dy)
    for layer in flat(net):
        for k, w in layer.params.items():
            g = layer.grads[k] + (DECAY * w if w.ndim > 1 else 0)
            v = velocity[layer.name, k] = 0.9 * velocity.get((layer.name, k), 0) + g
            layer.params[k] = (w - rate * (g + 0.9 * v)).astype(w.dtype)


def shifted(rng, x):
    """Each picture moved by at most one pixel each way, what comes in is background."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moves = rng.choice(3, size=(len(x), 2), p=[0.15, 0.7, 0.15])
    return np.stack([w[:, i : i + 8, j : j + 8] for w, (i, j) in zip(wide, moves)])


def train(rng, image, label):
    net, velocity = build(rng), {}
    cast(net, np.float32)
    n_steps = EPOCHS * (len(image) // BATCH)
    done = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(image))
        for i in range(0, len(image) - BATCH + 1, BATCH):
            pick = order[i : i + BATCH]
            rate = RATE * 0.5 * (1 + np.cos(np.pi * done / n_steps))
            step(net, velocity, shifted(rng, image[pick]), label[pick], np.float32(rate))
            done += 1
    return net


class Writer:
    """Collects nodes and initializers while it walks the layers in order."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def layer(self, layer, x, output=None):
        names = []
        for k, v in {**layer.params, **layer.buffers}.items():
            names.append(f"{layer.name}.{k}")
            self.initializers.append(numpy_helper.from_array(v.astype(np.float32), names[-1]))
        y = output or f"{layer.name}.out"
        self.nodes.append(helper.make_node(layer.op_type, [x, *names], [y], name=layer.name, **layer.attributes))
        return y

    def residual(self, block, x):
        y = x
        for layer in block.body:
            y = self.layer(layer, y)
        total = f"{block.name}.add.out"
        self.nodes.append(helper.make_node("Add", [y, x], [total], name=f"{block.name}.add"))
        return self.layer(block.relu, total)


def to_onnx(net, accuracy):
    w, x = Writer(), "image"
    for layer in net[:-1]:
        x = w.residual(layer, x) if isinstance(layer, Residual) else w.layer(layer, x)
    w.layer(net[-1], x, "logits")
    graph = helper.make_graph(
        w.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        w.initializers,
        doc_string="Handwritten digit of an 8x8 grey picture, 0 background to 1 ink; logits[k] speaks for digit k.",
    )
    model = helper.make_model(
        graph, producer_name="infold make_digits.py", ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    helper.set_model_props(model, {"held_out_accuracy": f"{accuracy:.4f}", "data": "scikit-learn load_digits"})
    onnx.checker.check_model(model, full_check=True)
    return model


def check_elsewhere(data, image, logits):
    """The written bytes mean what this file's own double-precision forward pass says."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["logits"], {"image": image})[0], logits, rtol=1e-4, atol=1e-4)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", default=HERE, help="folder to write to")
    out = ap.parse_args().out

    data = load_digits()
    image = (data.images[:, None] / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        image, data.target.astype(np.int64), test_size=0.25, random_state=SEED, stratify=data.target
    )
    net = train(np.random.default_rng(SEED), train_x, train_y)
    cast(net, np.float64)
    logits = forward(net, test_x.astype(np.float64))
    accuracy = (logits.argmax(axis=1) == test_y).mean()
    print(f"held-out accuracy {accuracy:.4f} of {len(test_y)} pictures")
    assert accuracy >= 0.98, "the training has gone wrong"

    model = to_onnx(net, accuracy).SerializeToString(deterministic=True)
    check_elsewhere(model, test_x, logits)
    with open(os.path.join(out, "digits.onnx"), "wb") as f:
        f.write(model)
    np.savez(os.path.join(out, "digits_test.npz"), image=test_x, logits=logits.astype(np.float32), label=test_y)


if __name__ == "__main__":
    main()
