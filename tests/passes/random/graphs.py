"""Random models around what the passes rewrite.

A model is a walk: starting from inputs, fragments append a few nodes each (a convolution and what may follow it, a
chain of views, slices of slices …) with random attributes, constants and broadcast forms, as the drawn opset and IR
version write them. Values met on the way may get further readers or become outputs."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

BATCH = 3  # what the symbolic first dimension is when it runs


class Graph:
    """Nodes, initializers and shapes of one graph; a body writes constants into itself or into its outer graph."""

    def __init__(self, rng, opset, ir, outer=None):
        self.rng, self.opset, self.ir, self.outer = rng, opset, ir, outer
        self.nodes, self.initializers, self.outputs = [], [], []
        self.shapes = {}  # of float values, as they run
        self.names = outer.names if outer else [0]

    def name(self, stem):
        self.names[0] += 1
        return f"{stem}{self.names[0]}"

    def chance(self, p):
        return self.rng.random() < p

    def pick(self, *items):
        return items[self.rng.integers(len(items))]

    # ---- nodes ----

    def add(self, op, inputs, shape=None, n_outputs=1, **attributes):
        outputs = [self.name(op.lower()) for _ in range(n_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outputs, **{k: v for k, v in attributes.items() if v is not None}))
        if shape is not None:
            for o in outputs:
                self.shapes[o] = tuple(shape)
        return outputs[0] if n_outputs == 1 else outputs

    def constant(self, array, form=None):
        """An initializer, a Constant node, or a node that makes it; here or in the outer graph."""
        array = np.asarray(array)
        g = self.outer if self.outer and self.chance(0.5) else self
        form = form or self.pick("initializer", "initializer", "initializer", "node", "identity")
        if g.ir < 4 and g.outer:
            form = "node"
        if g.opset < 9 and array.dtype != np.float32 and form == "node":
            g, form = g.outer or g, "initializer"
        name = g.name("c")
        if form == "initializer" or (form == "identity" and g.ir < 4):
            g.initializers.append(numpy_helper.from_array(array, name))
            return name
        if form == "identity":
            g.initializers.append(numpy_helper.from_array(array, name))
            return g.add("Identity", [name])
        g.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def floats(self, *shape, low=-1.5, high=1.5):
        if self.chance(0.1):
            return np.full(shape, self.pick(0.0, 1.0, 0.5, -2.0), np.float32)
        return self.rng.uniform(low, high, shape).astype(np.float32)

    # ---- operators whose form depends on the opset ----

    def axes_op(self, op, x, axes, since, shape, **attributes):
        if self.opset < since:
            return self.add(op, [x], shape, axes=axes, **attributes)
        return self.add(op, [x, self.ints(*axes)], shape, **attributes)

    def squeeze(self, x, axes):
        shape = [d for i, d in enumerate(self.shapes[x]) if i not in axes]
        return self.axes_op("Squeeze", x, axes, 13, shape)

    def unsqueeze(self, x, axes):
        shape = list(self.shapes[x])
        for a in sorted(axes):
            shape.insert(a, 1)
        return self.axes_op("Unsqueeze", x, axes, 13, shape)

    def reduce(self, op, x, axes, keepdims):
        shape = [1 if i in axes else d for i, d in enumerate(self.shapes[x]) if keepdims or i not in axes]
        return self.axes_op(op, x, axes, 13 if op == "ReduceSum" else 18, shape, keepdims=keepdims)

    def reshape(self, x, shape, written=None):
        return self.add("Reshape", [x, self.ints(*(written or shape))], shape)

    def clip(self, x, low, high):
        if self.opset < 11:
            return self.add("Clip", [x], self.shapes[x], min=low, max=high)
        bounds = ["" if v is None else self.constant(np.float32(v)) for v in (low, high)]
        return self.add("Clip", [x, *bounds], self.shapes[x])

    def slice(self, x, axes, starts, ends, steps=None):
        shape = list(self.shapes[x])
        for i, a in enumerate(axes):
            shape[a] = len(range(shape[a])[slice(starts[i], None if ends[i] < -shape[a] else ends[i], steps[i] if steps else 1)])
        if 0 in shape:
            return x
        if self.opset < 10:
            return self.add("Slice", [x], shape, axes=axes, starts=starts, ends=ends)
        lists = [starts, ends, axes] + ([steps] if steps else [])
        return self.add("Slice", [x, *(self.ints(*v) for v in lists)], shape)

    def pad(self, x, pads, value=0.0):
        rank = len(self.shapes[x])
        shape = [d + pads[i] + pads[rank + i] for i, d in enumerate(self.shapes[x])]
        if min(shape) < 1:
            return x
        if self.opset < 11:
            return self.add("Pad", [x], shape, pads=pads, value=value)
        extra = [self.constant(np.float32(value))] if value or self.chance(0.3) else []
        return self.add("Pad", [x, self.ints(*pads), *extra], shape)

    def dropout(self, x):
        if self.opset < 12:
            return self.add("Dropout", [x], self.shapes[x], ratio=0.3)
        return self.add("Dropout", [x] + ([self.constant(np.float32(0.3))] if self.chance(0.5) else []), self.shapes[x])

    def softmax(self, x, axis):
        return self.add("Softmax", [x], self.shapes[x], axis=axis)

    def same(self, op, x, **attributes):
        return self.add(op, [x], self.shapes[x], **attributes)

    # ---- arithmetic ----

    def along(self, x, axis, array):
        """A vector along an axis, in one of the shapes that broadcast so."""
        rank = len(self.shapes[x])
        ones = [1] * (rank - axis - 1)
        lead = self.pick(0, 0, axis)
        return array.reshape([1] * lead + [len(array)] + ones)

    def batch_norm(self, x):
        c = self.shapes[x][1]
        stats = [self.floats(c), self.floats(c), self.floats(c), self.rng.uniform(0.3, 2, c).astype(np.float32)]
        attributes = {"epsilon": self.pick(None, 1e-3, 1e-5)}
        if self.opset < 9 and self.chance(0.3):
            attributes["spatial"] = 1
        return self.add("BatchNormalization", [x, *map(self.constant, stats)], self.shapes[x], **attributes)

    def arithmetic(self, x, axis=1):
        op = self.pick("Add", "Sub", "Mul", "Div")
        n = self.shapes[x][axis]
        kind = self.pick("channel", "channel", "scalar", "one", "element") if n else "scalar"
        low = 0.5 if op == "Div" else -1.5
        if kind == "channel":
            c = self.along(x, axis, self.floats(n, low=low, high=2))
        elif kind == "element" and self.chance(0.3):
            c = self.floats(*self.shapes[x][1:], low=low, high=2)
        else:
            c = self.floats(*([1] if kind == "one" else []), low=low, high=2)
        if op == "Div":
            c = np.where(c == 0, np.float32(1), c)
        operands = [x, self.constant(c)]
        if op != "Div" and self.chance(0.3):
            operands.reverse()
        return self.add(op, operands, self.shapes[x])

    def affine(self, x, axis=1):
        kind = self.rng.random()
        if kind < 0.4 and axis == 1 and len(self.shapes[x]) > 1:
            return self.batch_norm(x)
        if kind < 0.5:
            return self.same("Neg", x)
        return self.arithmetic(x, axis)

    def between(self, x):
        """What may stand between two nodes that belong together."""
        if self.chance(0.12):
            x = self.same("Identity", x)
        if self.chance(0.08):
            x = self.dropout(x)
        if self.chance(0.08):
            self.outputs.append(self.same("Relu", x))
        if self.chance(0.05):
            self.outputs.append(x)
        return x

    def affines(self, x, axis=1):
        for _ in range(self.rng.integers(0, 4)):
            x = self.affine(self.between(x), axis)
        return x


# ---- fragments: from a value to a value ----


def conv(g, x):
    n, c, *image = g.shapes[x]
    groups = g.pick(1, 1, 2, c) if c % 2 == 0 else g.pick(1, 1, c)
    kernel = [int(g.rng.integers(1, min(3, d) + 1)) for d in image]
    pads = [int(g.rng.integers(0, k)) for k in kernel] + [int(g.rng.integers(0, k)) for k in kernel]
    if g.chance(0.5):
        pads = [0] * len(pads)
    strides = [int(g.rng.integers(1, 3)) for _ in image]
    out = groups * int(g.rng.integers(1, 4))
    half = len(image)
    shape = [n, out] + [(image[i] + pads[i] + pads[half + i] - kernel[i]) // strides[i] + 1 for i in range(half)]
    inputs = [x, g.constant(g.floats(out, c // groups, *kernel))]
    if g.chance(0.5):
        inputs.append(g.constant(g.floats(out)))
    given = any(pads) or g.chance(0.5)
    return g.add("Conv", inputs, shape, group=groups, pads=pads if given else None, strides=strides)


def conv_transpose(g, x):
    n, c, *image = g.shapes[x]
    groups = g.pick(1, 2) if c % 2 == 0 else 1
    kernel = [int(g.rng.integers(1, 4)) for _ in image]
    strides = [int(g.rng.integers(1, 3)) for _ in image]
    wide = int(g.rng.integers(1, 3))
    shape = [n, groups * wide] + [(d - 1) * s + k for d, s, k in zip(image, strides, kernel)]
    if max(shape[2:]) > 16:
        return x
    inputs = [x, g.constant(g.floats(c, wide, *kernel))]
    if g.chance(0.5):
        inputs.append(g.constant(g.floats(groups * wide)))
    return g.add("ConvTranspose", inputs, shape, group=groups, strides=strides)


def conv_block(g, x):
    x = g.affines(x) if g.chance(0.4) else x
    if g.chance(0.25):
        rank = len(g.shapes[x])
        pads = [0] * (2 * rank)
        for i in range(2, rank):
            pads[i], pads[rank + i] = int(g.rng.integers(-1, 3)), int(g.rng.integers(0, 3))
        x = g.pad(x, pads, g.pick(0.0, 0.0, 1.0))
    x = g.between(g.pick(conv, conv, conv, conv_transpose)(g, g.between(x)))
    return activation(g, g.affines(x)) if g.chance(0.5) else g.affines(x)


def parallel(g, x):
    n, c, *image = g.shapes[x]
    big = g.add("Conv", [x, g.constant(g.floats(c, c, *[3] * len(image)))], g.shapes[x], pads=[1] * (2 * len(image)))
    small = g.add("Conv", [x, g.constant(g.floats(c, c, *[1] * len(image)))], g.shapes[x])
    terms = [g.affines(big), g.affines(small)] + ([g.affines(x)] if g.chance(0.5) else [])
    order = g.rng.permutation(len(terms))
    y = terms[order[0]]
    for i in order[1:]:
        y = g.add(g.pick("Add", "Add", "Sub"), [y, terms[i]], g.shapes[x])
    return y


def product(g, x):
    """Gemm of a matrix, or MatMul and Add, with scales and shifts around."""
    shape = g.shapes[x]
    k, m = shape[-1], int(g.rng.integers(1, 7))
    last = len(shape) - 1
    if g.chance(0.4):
        x = g.affines(x, last)
    out = [*shape[:-1], m]
    if len(shape) == 2 and g.chance(0.6):
        turned = g.chance(0.5)
        inputs = [x, g.constant(g.floats(m, k) if turned else g.floats(k, m))]
        if g.opset < 11 or g.chance(0.6):
            inputs.append(g.constant(g.floats(*g.pick([m], [1, m], [1], []))))
        y = g.add("Gemm", inputs, out, transB=int(turned), alpha=g.pick(None, 0.5), beta=g.pick(None, 2.0))
    else:
        y = g.add("MatMul", [x, g.constant(g.floats(k, m))], out)
        if g.chance(0.6):
            y = g.add("Add", [g.between(y), g.constant(g.floats(m))], out)
    return g.affines(g.between(y), last)


def scalar(g, value):
    return g.constant(np.array(value, np.float32).reshape(g.pick([], [1])))


def binary(g, op, a, b, shape):
    return g.add(op, [a, b] if op in ("Div", "Sub", "Pow") or g.chance(0.5) else [b, a], shape)


def hard_gate(g, x):
    s = g.shapes[x]
    y = g.clip(binary(g, "Add", x, scalar(g, 3.0), s), 0.0, 6.0)
    if g.chance(0.7):
        y = binary(g, "Mul", x, y, s)
    return g.add("Div", [y, scalar(g, 6.0)], s)


def silu(g, x):
    return binary(g, "Mul", x, g.same("Sigmoid", x), g.shapes[x])


def gelu(g, x):
    s = g.shapes[x]
    if g.opset < 9:
        return x
    if g.chance(0.4):
        cube = g.add("Pow", [x, scalar(g, 3.0)], s) if g.chance(0.5) else binary(g, "Mul", x, g.add("Mul", [x, x], s), s)
        inner = binary(g, "Add", x, binary(g, "Mul", cube, scalar(g, 0.044715), s), s)
        e = g.same("Tanh", binary(g, "Mul", inner, scalar(g, 0.7978845608), s))
    else:
        e = g.same("Erf", g.add("Div", [x, scalar(g, 1.4142135)], s) if g.chance(0.5)
                   else binary(g, "Mul", x, scalar(g, 0.70710678), s))
    one = binary(g, "Add", e, scalar(g, 1.0), s)
    if g.chance(0.5):
        return binary(g, "Mul", binary(g, "Mul", x, one, s), scalar(g, 0.5), s)
    return binary(g, "Mul", binary(g, "Mul", x, scalar(g, 0.5), s), one, s)


def mish(g, x):
    return binary(g, "Mul", x, g.same("Tanh", g.same("Softplus", x)), g.shapes[x])


def softplus(g, x):
    s = g.shapes[x]
    return g.same("Log", binary(g, "Add", g.same("Exp", g.clip(x, -20.0, 20.0)), scalar(g, 1.0), s))


def clips(g, x):
    for _ in range(g.rng.integers(1, 4)):
        low, high = sorted(float(v) for v in g.rng.uniform(-2, 2, 2).astype(np.float32))
        x = g.pick(lambda: g.clip(x, low, high), lambda: g.clip(x, 0.0, high), lambda: g.same("Relu", x),
                   lambda: g.same("Abs", x), lambda: g.same("Neg", x))()
    return x


def plain(g, x):
    return g.same(g.pick("Relu", "Sigmoid", "Tanh", "Abs", "Exp"), g.clip(x, -3.0, 3.0))


def clamps(g, x):
    """Clamps of what is within their bounds, or is nearly."""

    def positive(*shape):
        return g.constant(g.rng.uniform(0 if g.chance(0.8) else -0.1, 2, shape).astype(np.float32))

    def conv(y):
        s = g.shapes[y]
        if len(s) < 3:
            return g.add("MatMul", [y, positive(s[-1], s[-1])], s)
        bias = [positive(2)] if g.chance(0.5) else []
        return g.add("Conv", [y, positive(2, s[1], *[1] * (len(s) - 2)), *bias], [s[0], 2, *s[2:]])

    y = g.same(g.pick("Relu", "Sigmoid", "Abs", "Tanh"), g.clip(x, -2.0, 2.0))
    for _ in range(g.rng.integers(1, 6)):
        s = g.shapes[y]
        y = g.pick(lambda: binary(g, "Add", y, scalar(g, 0.5), s), lambda: binary(g, "Sub", y, scalar(g, 0.5), s),
                   lambda: binary(g, "Mul", y, scalar(g, 2.0), s), lambda: g.add("Mul", [y, y], s), lambda: conv(y),
                   lambda: g.add("Sum", [y, g.same("Sigmoid", y)], s), lambda: conv(y))()
        s = g.shapes[y]
        y = g.pick(lambda: g.same("Relu", y), lambda: g.clip(y, 0.0, 6.0), lambda: g.clip(y, 0.0, 1.0), lambda: g.same("Abs", y),
                   lambda: g.same("LeakyRelu", y), lambda: g.same("Elu", y, alpha=0.5), lambda: y,
                   lambda: binary(g, "Max", y, scalar(g, 0.0), s) if g.opset > 7 else y)()
    return g.same("Sqrt", g.same("Relu", y)) if g.chance(0.2) else y


def activation(g, x):
    return g.pick(hard_gate, silu, gelu, mish, softplus, clips, plain, plain)(g, x)


def layer_norm(g, x):
    """Mean taken away, divided by the root of the mean square; with its scale and shift, or without."""
    s, last = g.shapes[x], len(g.shapes[x]) - 1
    if s[last] < 2:  # of one element nothing but its sign is left
        return x
    axes = [last] if g.chance(0.6) else [-1]
    one = [*s[:-1], 1]

    def mean(v):
        return g.axes_op("ReduceMean", v, axes, 18, one, keepdims=1)

    d = x if g.chance(0.3) else g.add("Sub", [x, mean(x)], s)
    square = g.add("Pow", [d, scalar(g, 2.0)], s) if g.chance(0.5) else g.add("Mul", [d, d], s)
    root = g.add("Sqrt", [binary(g, "Add", mean(square), scalar(g, 1e-5), one)], one)
    if g.chance(0.3):
        y = binary(g, "Mul", d, g.add("Reciprocal", [root], one), s)
    else:
        y = g.add("Div", [d, root], s)
    if g.chance(0.7):
        y = binary(g, "Mul", y, g.constant(g.floats(s[-1])), s)
    if g.chance(0.7):
        y = binary(g, "Add", y, g.constant(g.floats(s[-1])), s)
    return y


def attention(g, x):
    """Queries, keys and values of a sequence in heads; products, Softmax, and back."""
    if len(g.shapes[x]) != 3:
        return x
    n, t, d = g.shapes[x]
    heads, size = g.pick((1, 4), (2, 3), (2, 2))
    scale = float(g.rng.uniform(0.3, 1))

    def parted(perm):
        y = g.add("MatMul", [x, g.constant(g.floats(d, heads * size))], [n, t, heads * size])
        if g.chance(0.6):
            y = g.add("Add", [y, g.constant(g.floats(heads * size))], [n, t, heads * size])
        y = g.between(g.reshape(y, [n, t, heads, size], g.pick([0, 0, heads, size], [-1, t, heads, size])))
        shape = [n, t, heads, size]
        y = g.add("Transpose", [y], [shape[i] for i in perm], perm=perm)
        return g.add("Mul", [y, scalar(g, scale)], g.shapes[y]) if g.chance(0.4) else y

    def picked(i, packed):
        part = g.add("Gather", [packed, g.constant(np.int64(i))], g.shapes[packed][1:], axis=0)
        return part

    if g.chance(0.3):
        packed = g.add("MatMul", [x, g.constant(g.floats(d, 3 * heads * size))], [n, t, 3 * heads * size])
        packed = g.reshape(packed, [n, t, 3, heads, size], [0, 0, 3, heads, size])
        packed = g.add("Transpose", [packed], [3, n, heads, t, size], perm=[2, 0, 3, 1, 4])
        if g.chance(0.5):
            q, k, v = (picked(i, packed) for i in range(3))
        else:
            split = {"split": [1, 1, 1]} if g.opset < 13 else {}
            lengths = [] if split else [g.ints(1, 1, 1)]
            q, k, v = (g.squeeze(p, [0]) for p in g.add("Split", [packed, *lengths], [1, n, heads, t, size], 3, axis=0, **split))
        k = g.add("Transpose", [k], [n, heads, size, t], perm=[0, 1, 3, 2])
    else:
        q, k, v = parted([0, 2, 1, 3]), parted([0, 2, 3, 1]), parted([0, 2, 1, 3])
    scores = g.between(g.add("MatMul", [q, k], [n, heads, t, t]))
    if g.chance(0.5):
        scores = g.add(g.pick("Mul", "Div"), [scores, scalar(g, scale)], g.shapes[scores])
    if g.chance(0.3):
        scores = binary(g, "Add", scores, g.constant(g.floats(*g.pick((t, t), (1, 1, t, t), (1, heads, 1, t)))), g.shapes[scores])
    y = g.add("MatMul", [g.softmax(scores, 3 if g.opset < 13 else -1), v], [n, heads, t, size])
    y = g.add("Transpose", [y], [n, t, heads, size], perm=[0, 2, 1, 3])
    return g.reshape(y, [n, t, heads * size], [0, 0, heads * size])


def instance_norm(g, x):
    n, c, *image = g.shapes[x]
    groups = c if c % 2 or g.chance(0.5) else 2
    flat = g.reshape(x, [n, groups, c // groups * int(np.prod(image))], [0, groups, -1])
    y = g.add("InstanceNormalization", [flat, g.constant(g.floats(groups)), g.constant(g.floats(groups))], g.shapes[flat])
    return g.affines(g.reshape(y, [n, c, *image], [-1, c, *image]))


def transposes(g, x):
    rank = len(g.shapes[x])
    for _ in range(g.rng.integers(1, 4)):
        perm = [int(i) for i in g.rng.permutation(rank)]
        x = g.add("Transpose", [x], [g.shapes[x][i] for i in perm], perm=perm)
        for _ in range(g.rng.integers(0, 3)):
            x = g.between(g.pick(plain, lambda g, x: g.arithmetic(x, int(g.rng.integers(rank))), pad_any, slices, joins)(g, x))
        if len(g.shapes[x]) != rank:
            break
    return x


def pad_any(g, x):
    pads = [int(v) for v in g.rng.integers(-1, 3, 2 * len(g.shapes[x]))]
    pads[0] = pads[len(g.shapes[x])] = 0
    return g.pad(x, pads, g.pick(0.0, 0.5))


def slices(g, x):
    for _ in range(g.rng.integers(1, 4)):
        rank = len(g.shapes[x])
        axes = [int(a) for a in g.rng.permutation(rank)[:g.rng.integers(1, 3)] if a > 0 or g.chance(0.1)]
        if not axes:
            continue
        far = 2**62
        starts = [int(g.rng.integers(-2, 3)) for _ in axes]
        ends = [g.pick(far, int(g.rng.integers(2, 6)), -1) for _ in axes]
        steps = [g.pick(1, 1, 2) for _ in axes] if g.opset >= 10 and g.chance(0.5) else None
        x = g.between(g.slice(x, axes, starts, ends, steps))
    return x


def joins(g, x):
    rank = len(g.shapes[x])
    axis = int(g.rng.integers(1, rank)) if rank > 1 else 0
    parts = [x, plain(g, x)] + ([g.same("Neg", x)] if g.chance(0.3) else [])

    def concat(parts, axis):
        shape = list(g.shapes[parts[0]])
        shape[axis] = sum(g.shapes[p][axis] for p in parts)
        return g.add("Concat", parts, shape, axis=axis - (rank if g.opset >= 11 and g.chance(0.3) else 0))

    y = concat(parts, axis)
    if g.shapes[y][axis] > 24:
        return x
    if g.chance(0.4):
        y = concat([g.between(y), g.same("Tanh", y)], axis)
    if g.chance(0.4) and g.shapes[y][axis] % 2 == 0:
        shape = [d // 2 if i == axis else d for i, d in enumerate(g.shapes[y])]
        split = None if g.opset >= 13 else [shape[axis]] * 2
        halves = g.add("Split", [y] + ([g.ints(shape[axis], shape[axis])] if g.opset >= 13 else []), shape, 2, axis=axis,
                       split=split)
        y = concat(halves if g.chance(0.6) else halves[::-1], axis)
    return y


def views(g, x):
    for _ in range(g.rng.integers(1, 5)):
        s = g.shapes[x]
        kind = g.pick("flat", "split", "unsqueeze", "squeeze", "flatten", "computed")
        if kind == "flat" and len(s) > 2:
            x = g.reshape(x, [s[0], int(np.prod(s[1:]))], g.pick([0, -1], [-1, int(np.prod(s[1:]))]))
        elif kind == "split" and len(s) < 5 and s[-1] % 2 == 0:
            x = g.reshape(x, [*s[:-1], 2, s[-1] // 2], [-1, *s[1:-1], 2, s[-1] // 2])
        elif kind == "unsqueeze" and len(s) < 5:
            x = g.unsqueeze(x, [int(g.rng.integers(0, len(s) + 1))])
        elif kind == "squeeze" and 1 in s[1:]:
            x = g.squeeze(x, [1 + s[1:].index(1)])
        elif kind == "flatten":
            axis = int(g.rng.integers(0, len(s) + 1))
            x = g.add("Flatten", [x], [int(np.prod(s[:axis])), int(np.prod(s[axis:]))], axis=axis)
        elif kind == "computed":
            x = computed_reshape(g, x)
        x = g.between(x)
    return x


def computed_reshape(g, x):
    """To [its first dimension, …], as exporters write view(x.size(0), -1)."""
    s = g.shapes[x]
    if len(s) < 2:
        return x
    shape = g.add("Shape", [x])
    if g.chance(0.5):
        first = g.add("Gather", [shape, g.constant(np.int64(0))], axis=0)
        first = g.add("Unsqueeze", [first], axes=[0]) if g.opset < 13 else g.add("Unsqueeze", [first, g.ints(0)])
    else:
        first = g.add("Gather", [shape, g.ints(0)], axis=0)
    rest = [int(np.prod(s[1:]))] if g.chance(0.5) else list(s[1:])
    written = [-1, *rest[1:]] if g.chance(0.5) else rest
    return g.add("Reshape", [x, g.add("Concat", [first, g.ints(*written)], axis=0)], [s[0], *rest])


def reductions(g, x):
    for _ in range(g.rng.integers(1, 3)):
        rank = len(g.shapes[x])
        if rank < 2:
            break
        x = g.between(g.reduce(g.pick("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), x, [int(g.rng.integers(1, rank))],
                               int(g.rng.integers(2))))
    return x


def pools(g, x):
    if len(g.shapes[x]) < 3 or min(g.shapes[x][2:]) < 3:
        return x
    n, c, *image = g.shapes[x]
    rank = len(image)
    if g.chance(0.5):
        x = g.pad(x, [0, 0, *[1] * rank, 0, 0, *[g.pick(0, 1)] * rank], g.pick(0.0, -1e30, 0.5))
        image = g.shapes[x][2:]
    op = g.pick("MaxPool", "AveragePool")
    shape = [n, c] + [(d - 2) // 2 + 1 for d in image]
    return g.add(op, [g.clip(x, -10.0, 10.0) if op == "AveragePool" else x], shape, kernel_shape=[2] * rank, strides=[2] * rank)


def whole_pool(g, x):
    """A pool or a reduction over the whole image, then a view without its axes."""
    n, c, *image = g.shapes[x]
    axes = list(range(2, 2 + len(image)))
    op = g.pick("GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ReduceMean", "ReduceMax", "parts")
    one = [n, c, *[1] * len(image)]
    if op.startswith("Global"):
        y = g.add(op, [x], one)
    elif op.endswith("Pool"):
        y = g.add(op, [x], one, kernel_shape=image)
    elif op == "parts":
        y = x
        for axis in g.rng.permutation(axes):
            y = g.between(g.reduce("ReduceMean", y, [int(axis)], 1))
    else:
        y = g.reduce(op, x, axes, 1)
    y = g.between(y)
    return g.pick(lambda: g.add("Flatten", [y], [n, c]), lambda: g.reshape(y, [n, c], [-1, c]), lambda: g.squeeze(y, axes),
                  lambda: g.unsqueeze(g.reduce("ReduceMax", y, [1], 0), [1]))()


def shuffles(g, x):
    """Channels in another order, and pixels that become channels, in views."""
    n, c, *image = g.shapes[x]
    parts = g.pick(2, 3) if c % 6 == 0 else 2 if c % 2 == 0 else 3
    if c % parts == 0 and g.chance(0.6):
        y = g.between(g.reshape(x, [n, parts, c // parts, *image]))
        perm = [0, 2, 1, *range(3, 3 + len(image))]
        y = g.add("Transpose", [y], [g.shapes[y][i] for i in perm], perm=perm)
        return g.reshape(y, [n, c, *image], [-1, c, *image])
    if len(image) != 2:
        return x
    h, w = image
    forms = [([n, 2, 2, c // 4, h, w], [0, 3, 4, 1, 5, 2], [n, c // 4, 2 * h, 2 * w])] * (c % 4 == 0)
    forms += [([n, c // 4, 2, 2, h, w], [0, 1, 4, 2, 5, 3], [n, c // 4, 2 * h, 2 * w])] * (c % 4 == 0)
    forms += [([n, c, h // 2, 2, w // 2, 2], p, [n, 4 * c, h // 2, w // 2]) for p in ([0, 3, 5, 1, 2, 4], [0, 1, 3, 5, 2, 4])
              if h % 2 == 0 and w % 2 == 0]
    if not forms:
        return x
    parts, perm, shape = g.pick(*forms)
    y = g.reshape(x, parts)
    y = g.between(g.add("Transpose", [y], [parts[i] for i in perm], perm=perm))
    return g.reshape(y, shape, [-1, *shape[1:]])


def parted(g, x):
    """Slices that part a value, or nearly; some lose their axis."""
    s = g.shapes[x]
    axis = int(g.rng.integers(1, len(s)))
    if s[axis] < 2:
        return x
    cut = int(g.rng.integers(1, s[axis]))
    cuts = [(0, cut), (cut if g.chance(0.9) else cut - 1, 2**62 if g.chance(0.5) else s[axis])]
    if g.chance(0.5):
        cuts.reverse()
    parts = [g.between(g.slice(x, [axis], [a - s[axis] if a and g.chance(0.3) else a], [b])) for a, b in cuts]
    if g.chance(0.5):
        return g.add("Concat", parts, [sum(g.shapes[p][i] for p in parts) if i == axis else d for i, d in enumerate(s)], axis=axis)
    one = g.slice(x, [axis], [cut], [cut + 1])
    rest = [*s[:axis], *s[axis + 1:]]
    return g.squeeze(one, [axis]) if g.chance(0.5) else g.reshape(one, rest, [-1, *rest[1:]])


def stretches(g, x):
    """Expand before an operator that broadcasts, where it need not and where it must."""
    if g.opset < 8:
        return x
    s = g.shapes[x]
    small = g.reduce("ReduceMax", x, [int(g.rng.integers(1, len(s)))], 1)
    to = list(s) if g.chance(0.7) else [*s[:-1], s[-1] if s[-1] > 1 else 2]
    shape = g.add("Shape", [x]) if to == list(s) and g.chance(0.5) else g.ints(*to)
    wide = g.between(g.add("Expand", [small, shape], to))
    other = g.pick(x, x, small)
    return g.add("Sub", [other, wide] if g.chance(0.5) else [wide, other], to)


def sequences(g, x):
    """Parts of a sequence, taken one by one."""
    s = g.shapes[x]
    axis = int(g.rng.integers(1, len(s)))
    if g.opset < 11 or s[axis] < 2:
        return x
    cut = int(g.rng.integers(1, s[axis]))
    split = g.ints(cut, s[axis] - cut) if g.chance(0.5) or 2 * cut < s[axis] else g.constant(np.int64(cut))
    sequence = g.add("SplitToSequence", [x, split], axis=axis)
    parts = [g.add("SequenceAt", [sequence, g.constant(np.int64(i))], [n if k == axis else d for k, d in enumerate(s)])
             for i, n in ((0, cut), (-1, s[axis] - cut))]
    return g.add("Concat", parts[::-1], s, axis=axis)


def rows(g, x):
    """A Gemm of the rows of a value of more axes, and back."""
    s = g.shapes[x]
    if len(s) < 3:
        return x
    n, k, m = int(np.prod(s[:-1])), s[-1], int(g.rng.integers(1, 5))
    y = g.reshape(x, [n, k], [-1, k]) if g.chance(0.7) else g.add("Flatten", [x], [n, k], axis=len(s) - 1)
    if g.chance(0.1):
        y = g.same("Relu", y)
    turned = g.chance(0.5)
    inputs = [y, g.constant(g.floats(m, k) if turned else g.floats(k, m))]
    if g.opset < 11 or g.chance(0.6):
        inputs.append(g.constant(g.floats(*g.pick([m], [1, m], [1]))))
    y = g.between(g.add("Gemm", inputs, [n, m], transB=int(turned), alpha=g.pick(None, 0.5), beta=g.pick(None, 2.0)))
    return g.reshape(y, [*s[:-1], m], [-1, *s[1:-1], m])


def group_norm(g, x):
    n, c, *image = g.shapes[x]
    groups = int(g.rng.choice([d for d in range(1, c + 1) if c % d == 0]))
    rest = c // groups * int(np.prod(image))
    if rest < 2:
        return x
    y = g.between(g.reshape(x, [n, groups, rest], [0, groups, -1]))
    y = g.add("InstanceNormalization", [y, g.constant(g.floats(groups)), g.constant(g.floats(groups))], g.shapes[y], epsilon=1e-2)
    return g.affines(g.reshape(g.between(y), [n, c, *image], [-1, c, *image]))


def split_heads(g, x):
    """Queries, keys and values as parts of one product, in heads perhaps; the scores are scaled."""
    if len(g.shapes[x]) != 3:
        return x
    n, t, d = g.shapes[x]
    heads, size = g.pick((1, 4), (2, 3), (2, 2))
    y = g.add("MatMul", [x, g.constant(g.floats(d, 3 * heads * size))], [n, t, 3 * heads * size])
    if g.chance(0.6):
        y = g.add("Add", [y, g.constant(g.floats(3 * heads * size))], g.shapes[y])
    shape = [n, t, heads * size]
    if heads > 1:
        y = g.reshape(y, [n, t, heads, 3 * size], [-1, t, heads, 3 * size])
        shape = [n, t, heads, size]
    axis = len(shape) - 1
    lengths = [shape[axis]] * 3
    q, k, v = g.add("Split", [y] + ([g.ints(*lengths)] if g.opset >= 13 else []), shape, 3, axis=axis,
                    split=None if g.opset >= 13 else lengths)
    if heads > 1:
        q, k, v = (g.add("Transpose", [p], [n, heads, t, size], perm=[0, 2, 1, 3]) for p in (q, k, v))
    turn = [0, 2, 1] if heads == 1 else [0, 1, 3, 2]
    k = g.add("Transpose", [k], [g.shapes[k][i] for i in turn], perm=turn)
    scores = g.add("MatMul", [q, k], [*g.shapes[q][:-1], t])
    scores = binary(g, g.pick("Mul", "Div"), g.between(scores), scalar(g, 0.4), g.shapes[scores])
    y = g.add("MatMul", [g.softmax(scores, len(g.shapes[scores]) - 1), v], g.shapes[v])
    if heads > 1:
        y = g.add("Transpose", [y], [n, t, heads, size], perm=[0, 2, 1, 3])
    return g.reshape(y, [n, t, heads * size], [-1, t, heads * size])


def picks(g, x):
    s = g.shapes[x]
    axis = int(g.rng.integers(1, len(s)))
    indices = np.arange(s[axis]) - (s[axis] if g.opset >= 11 and g.chance(0.2) else 0)
    if g.chance(0.2):
        indices = indices[::-1]
    if s[axis] % 2 == 0 and g.chance(0.5):
        indices = indices.reshape(2, -1)
    if len(s) + indices.ndim > 6:
        return x
    return g.add("Gather", [x, g.constant(indices.astype(np.int64))], [*s[:axis], *indices.shape, *s[axis + 1:]], axis=axis)


def casts(g, x):
    for to in g.rng.permutation([TensorProto.FLOAT, TensorProto.DOUBLE])[:g.rng.integers(1, 3)]:
        x = g.add("Cast", [x], g.shapes[x], to=int(to))
    return g.add("Cast", [x], g.shapes[x], to=TensorProto.FLOAT)


def duplicates(g, x):
    y = g.pick(plain, conv_block if len(g.shapes[x]) > 2 else product)
    state = g.rng.bit_generator.state
    a = y(g, x)
    g.rng.bit_generator.state = state
    b = y(g, x)
    return g.add("Add", [a, b], g.shapes[a])


def described(g, y):
    """As an output: its rank, no more."""
    return helper.make_tensor_value_info(y, TensorProto.FLOAT, [None] * len(g.shapes[y]))


def branch(g, x):
    """An If whose condition is constant, or comes from x; branches of the same shape."""
    shape = g.shapes[x]
    bodies = []
    for _ in range(2):
        body = Graph(g.rng, g.opset, g.ir, outer=g)
        body.shapes[x] = shape
        y = x
        for _ in range(g.rng.integers(1, 3)):
            y = g.pick(lambda b, v: b.arithmetic(v), lambda b, v: b.affine(v) if len(shape) > 1 else b.same("Neg", v), plain)(body, y)
        y = body.same("Identity", y)
        bodies.append(helper.make_graph(body.nodes, g.name("body"), [], [described(body, y)],
                                        body.initializers))
    if g.chance(0.5):
        condition = g.constant(np.array(g.chance(0.5)))
    else:
        every = g.add("ReduceMean", [x], keepdims=0)
        condition = g.add("Greater", [every, g.constant(np.float32(0))])
    return g.add("If", [condition], shape, then_branch=bodies[0], else_branch=bodies[1])


IMAGE = [conv_block, conv_block, conv_block, parallel, pools, whole_pool, shuffles, group_norm, instance_norm]
ANY = [attention, attention, split_heads, activation, activation, clamps, transposes, slices, joins, views, reductions, picks, parted, stretches, sequences, rows, casts, duplicates, product, layer_norm, branch, clips,
       pad_any]


def make(seed):
    """A model and its inputs."""
    rng = np.random.default_rng(seed)
    opset = int(rng.integers(7, 24))
    ir = 3 if opset < 9 and rng.random() < 0.6 else max(4, min(10, opset - 5))
    g = Graph(rng, opset, ir)
    shape = [BATCH, int(rng.integers(1, 5)), *[int(d) for d in rng.integers(3, 8, g.pick(0, 1, 2, 2, 2, 3))]]
    x = "x"
    g.shapes[x] = tuple(shape)
    for _ in range(rng.integers(1, 5)):
        image = len(g.shapes[x]) in (3, 4, 5) and all(d >= 1 for d in g.shapes[x])
        fragments = ANY + (3 * IMAGE if image else [])
        if len(g.shapes[x]) < 2:
            fragments = [activation, clips, casts]
        y = g.pick(*fragments)(g, x)
        if np.prod(g.shapes[y]) > 20000:
            break
        x = y
        if g.chance(0.1):
            g.outputs.append(x)
    outputs = list(dict.fromkeys(o for o in [*g.outputs, x] if o != "x")) or [g.same("Relu", x)]
    declared = [f"N" if i == 0 and rng.random() < 0.7 else d for i, d in enumerate(shape)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, declared)]
    if ir < 4:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in g.initializers]
    graph = helper.make_graph(g.nodes, "random", inputs,
                              [described(g, o) for o in outputs], g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    return model, {"x": rng.uniform(-2, 2, shape).astype(np.float32)}
