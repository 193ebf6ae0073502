"""Cases of single operators: a node with its other operands as inputs, or as initializers where models have them so, at two
sizes. The most common forms of each operator; variants.py has others."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(1)
F, I = np.float32, np.int64


class Const:
    """An operand that models hold as an initializer."""

    def __init__(self, value):
        self.value = np.asarray(value)


def floats(*shape, low=-1., high=1.):
    return RNG.uniform(low, high, shape).astype(F)


def ints(*shape, high=100, low=0):
    return RNG.integers(low, high, shape).astype(I)


def bools(*shape):
    return RNG.random(shape) < .5


def bytes_of(*shape, dtype=np.uint8):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def model_of(op, operands, attributes, opset, domain, n_out):
    """One node; the types of its outputs are left to the engines."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(operands)]
    inputs, constants = [], []
    for name, a in zip(names, operands):
        if isinstance(a, Const):
            constants.append(numpy_helper.from_array(a.value, name))
        elif a is not None:
            dtype = TensorProto.STRING if a.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(a.dtype)
            inputs.append(helper.make_tensor_value_info(name, dtype, a.shape))
    outputs = [f"y{i}" for i in range(n_out)]
    node = helper.make_node(op, names, outputs, domain=domain, **attributes)
    graph = helper.make_graph([node], op, inputs, [onnx.ValueInfoProto(name=o) for o in outputs], constants)
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 3)] if domain else [])
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=imports, ir_version=10))


class Case:
    def __init__(self, op, small, large, what="", opset=21, domain="", n_out=1, **attributes):
        self.name = f"{op} {what}".strip()
        self.sizes, self.op, self.opset, self.domain, self.n_out = (small, large), op, opset, domain, n_out
        self.attributes = attributes

    def write(self, folder, size):
        made = self.sizes[size]()
        operands, more = made if isinstance(made, tuple) else (made, {})
        model = model_of(self.op, operands, {**self.attributes, **more}, self.opset, self.domain, self.n_out)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "inputs.npz", **{f"x{i}": a for i, a in enumerate(operands)
                                           if a is not None and not isinstance(a, Const)})


def both(op, make, small, large, what="", **rest):
    """A case whose operands are make(*shape) at two shapes."""
    return Case(op, lambda: make(*small), lambda: make(*large), what, **rest)


FLAT = (64, 256), (1024, 1024)
IMAGE = (1, 16, 32, 32), (4, 64, 64, 64)
ROWS = (16, 128), (1024, 768)


def elementwise():
    for op in ("Abs Acos Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish IsNaN IsInf "
               "LeakyRelu Mish Neg Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Tan Tanh ThresholdedRelu Shrink "
               "Identity").split():
        yield both(op, lambda *s: [floats(*s)], *FLAT)
    for op in "Log Sqrt Reciprocal".split():
        yield both(op, lambda *s: [floats(*s, low=.1, high=9)], *FLAT)
    yield both("Acosh", lambda *s: [floats(*s, low=1, high=9)], *FLAT)
    yield both("Clip", lambda *s: [floats(*s), Const(F(-.5)), Const(F(.5))], *FLAT)
    yield both("Not", lambda *s: [bools(*s)], *FLAT)
    for op in "Add Sub Mul Div Max Min Sum Mean Equal Greater GreaterOrEqual Less LessOrEqual".split():
        yield both(op, lambda *s: [floats(*s), floats(*s, low=.5)], *FLAT)
    yield both("Pow", lambda *s: [floats(*s, low=.1), floats(*s)], *FLAT)
    yield both("Pow", lambda *s: [floats(*s), Const(F(2))], *FLAT, "squares")
    yield both("PRelu", lambda *s: [floats(*s), Const(floats(s[1], 1, 1))], *IMAGE)
    for op in "And Or Xor".split():
        yield both(op, lambda *s: [bools(*s), bools(*s)], *FLAT)
    for op in "Add Mul Div Equal Less".split():
        yield both(op, lambda *s: [ints(*s), ints(*s, low=1)], *FLAT, "int64")
    yield both("Mod", lambda *s: [ints(*s), ints(*s, low=1)], *FLAT, "int64")
    yield both("Mod", lambda *s: [floats(*s), floats(*s, low=.1)], *FLAT, "fmod", fmod=1)
    for op in "BitwiseAnd BitwiseOr BitwiseXor".split():
        yield both(op, lambda *s: [ints(*s), ints(*s)], *FLAT)
    yield both("BitwiseNot", lambda *s: [ints(*s)], *FLAT)
    yield both("BitShift", lambda *s: [bytes_of(*s, dtype=np.uint32), ints(*s, high=9).astype(np.uint32)], *FLAT, direction="LEFT")
    yield both("Add", lambda *s: [floats(*s), Const(floats(s[-1]))], *FLAT, "of a row")
    yield both("Mul", lambda *s: [floats(*s), floats(s[1], 1, 1)], *IMAGE, "of channels")
    yield both("Where", lambda *s: [bools(*s), floats(*s), floats(*s)], *FLAT)
    yield both("Where", lambda *s: [bools(*s), Const(F(0)), floats(*s)], *FLAT, "of a scalar")
    for name, to in (("float16", 10), ("double", 11), ("int32", 6), ("int64", 7), ("bool", 9), ("uint8", 2), ("bfloat16", 16)):
        yield both("Cast", lambda *s: [floats(*s)], *FLAT, f"to {name}", to=to)
    yield both("Cast", lambda *s: [ints(*s)], *FLAT, "int64 to float", to=1)
    yield both("Cast", lambda *s: [floats(*s).astype(np.float16)], *FLAT, "float16 to float", to=1)
    yield both("CastLike", lambda *s: [floats(*s), Const(I(1))], *FLAT)
    yield both("Dropout", lambda *s: [floats(*s)], *FLAT)


def reductions():
    for op in "Sum Mean Max Min Prod L1 L2 LogSum LogSumExp SumSquare".split():
        yield both("Reduce" + op, lambda *s: [floats(*s, low=.5), Const([-1])], *ROWS, "last")
    for op in "Sum Mean Max L2".split():
        yield both("Reduce" + op, lambda *s: [floats(*s), Const([0])], *ROWS, "first")
    yield both("ReduceMean", lambda *s: [floats(*s), Const([2, 3])], *IMAGE, "of images")
    yield both("ReduceSum", lambda *s: [floats(*s), Const([0, 2])], *IMAGE, "of outer axes")
    yield both("ReduceSum", lambda *s: [ints(*s), Const([-1])], *ROWS, "int64")
    yield both("ReduceMax", lambda *s: [ints(*s), Const([-1])], *ROWS, "int64")
    yield both("ReduceSum", lambda *s: [floats(*s).astype(np.float64), Const([-1])], *ROWS, "double")
    yield both("ReduceMean", lambda *s: [floats(*s).astype(np.float16), Const([-1])], *ROWS, "float16")
    for op in "ArgMax ArgMin".split():
        yield both(op, lambda *s: [floats(*s)], *ROWS, "last", axis=-1)
    yield both("ArgMax", lambda *s: [floats(*s)], *IMAGE, "of channels", axis=1)
    yield both("CumSum", lambda *s: [floats(*s), Const(I(1))], *ROWS, "last")
    yield both("CumSum", lambda *s: [floats(*s), Const(I(0))], *ROWS, "first")
    yield both("TopK", lambda *s: [floats(*s), Const([5])], *ROWS, "5", n_out=2)
    yield both("TopK", lambda *s: [floats(*s), Const([100])], *ROWS, "100", n_out=2)
    yield both("Unique", lambda n: [ints(n, high=n // 4)], (1000,), (100000,), n_out=4)
    yield both("NonZero", lambda *s: [bools(*s).astype(F)], *FLAT)


def normalizations():
    for op in "Softmax LogSoftmax Hardmax".split():
        yield both(op, lambda *s: [floats(*s)], *ROWS, axis=-1)
    yield both("Softmax", lambda *s: [floats(*s)], *IMAGE, "of channels", axis=1)
    yield both("LayerNormalization", lambda *s: [floats(*s), Const(floats(s[1])), Const(floats(s[1]))], *ROWS)
    yield both("RMSNormalization", lambda *s: [floats(*s), Const(floats(s[1]))], *ROWS, opset=23)
    for op in "InstanceNormalization".split():
        yield both(op, lambda *s: [floats(*s), Const(floats(s[1])), Const(floats(s[1]))], *IMAGE)
    yield both("GroupNormalization", lambda *s: [floats(*s), Const(floats(s[1])), Const(floats(s[1]))], *IMAGE, num_groups=4)
    yield both("BatchNormalization", lambda *s: [floats(*s)] + [Const(floats(s[1], low=.5)) for _ in range(4)], *IMAGE)
    yield both("LpNormalization", lambda *s: [floats(*s)], *ROWS, "last", axis=-1, p=2)
    yield both("LpNormalization", lambda *s: [floats(*s)], *IMAGE, "of channels", axis=1, p=2)
    yield both("MeanVarianceNormalization", lambda *s: [floats(*s)], *IMAGE)
    yield both("LRN", lambda *s: [floats(*s)], *IMAGE, size=5)
    yield both("NegativeLogLikelihoodLoss", lambda *s: [floats(*s), ints(s[0], high=s[1])], *ROWS)
    yield both("SoftmaxCrossEntropyLoss", lambda *s: [floats(*s), ints(s[0], high=s[1])], *ROWS)


def windows():
    k = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    for op in "MaxPool AveragePool LpPool".split():
        yield both(op, lambda *s: [floats(*s)], *IMAGE, **k)
    yield both("MaxPool", lambda *s: [floats(*s)], *IMAGE, "with indices", n_out=2, **k)
    for op in "GlobalAveragePool GlobalMaxPool GlobalLpPool".split():
        yield both(op, lambda *s: [floats(*s)], *IMAGE)

    def unpooled(n, c, h, w):
        at = np.arange(n * c * h * w, dtype=I).reshape(n * c, h, w)[:, ::2, ::2].reshape(n, c, h // 2, w // 2)
        return [floats(n, c, h // 2, w // 2), at]
    yield both("MaxUnpool", unpooled, *IMAGE, kernel_shape=[2, 2], strides=[2, 2])
    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    yield both("Conv", lambda *s: [floats(*s), Const(floats(s[1], s[1], 3, 3))], *IMAGE, **square)
    yield both("Conv", lambda *s: ([floats(*s), Const(floats(s[1], 1, 3, 3))], {"group": s[1]}), *IMAGE, "depthwise", **square)
    yield both("Conv", lambda *s: [floats(*s), Const(floats(s[1], s[1] // 4, 3, 3))], *IMAGE, "grouped", group=4, **square)
    yield both("Conv", lambda *s: [floats(*s), Const(floats(s[1], s[1], 5))], (1, 16, 256), (4, 64, 2048), "1-D", pads=[2, 2])
    yield both("ConvTranspose", lambda *s: [floats(*s), Const(floats(s[1], s[1], 2, 2))], *IMAGE, strides=[2, 2])
    yield both("ConvInteger", lambda *s: [bytes_of(*s), Const(bytes_of(s[1], s[1], 3, 3)), Const(np.uint8(7))], *IMAGE, **square)

    def qconv(n, c, h, w):
        scale, zero = Const(F(.02)), Const(np.uint8(3))
        return [bytes_of(n, c, h, w), scale, zero, Const(bytes_of(c, c, 3, 3, dtype=np.int8)), scale, Const(np.int8(0)),
                Const(F(.5)), zero]
    yield both("QLinearConv", qconv, *IMAGE, **square)
    yield both("DeformConv", lambda n, c, h, w: [floats(n, c, h, w), Const(floats(c, c, 3, 3)), floats(n, 18, h, w)], *IMAGE, **square)
    yield both("Col2Im", lambda n, c, h, w: [floats(n, c * 9, h * w), Const([h, w]), Const([3, 3])], *IMAGE, pads=[1, 1, 1, 1])


def products():
    yield both("MatMul", lambda m, n: [floats(m, n), Const(floats(n, n))], *ROWS)
    yield both("MatMul", lambda b, n, k: [floats(b, n, k), floats(b, k, n)], (4, 16, 32), (12, 128, 64), "in batches")
    yield both("MatMul", lambda n: [floats(1, n), Const(floats(n, n))], (64,), (1024,), "of a row")
    yield both("Gemm", lambda m, n: [floats(m, n), Const(floats(n, n)), Const(floats(n))], *ROWS, transB=1)
    yield both("MatMulInteger", lambda m, n: [bytes_of(m, n), Const(bytes_of(n, n)), Const(np.uint8(3))], *ROWS)

    def qmatmul(m, n):
        scale, zero = Const(F(.02)), Const(np.uint8(3))
        return [bytes_of(m, n), scale, zero, Const(bytes_of(n, n)), scale, zero, Const(F(.5)), zero]
    yield both("QLinearMatMul", qmatmul, *ROWS)
    yield both("Einsum", lambda b, n, k: [floats(b, n, k), floats(b, k, n)], (4, 16, 32), (12, 128, 64), "bij,bjk", equation="bij,bjk->bik")
    yield both("Einsum", lambda b, n, k: [floats(b, n, k), floats(b, n, k)], (4, 16, 32), (12, 128, 64), "bhi,bhi", equation="bhi,bhi->bh")
    yield both("Det", lambda b, n: [floats(b, n, n)], (8, 8), (32, 64))
    for op, g in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        yield both(op, lambda t, b, n, g=g: ([floats(t, b, n), Const(floats(1, g * n, n)), Const(floats(1, g * n, n))], {"hidden_size": n}),
                   (8, 1, 16), (50, 4, 128))
    yield both("Attention", lambda b, h, n, d: [floats(b, h, n, d) for _ in range(3)], (1, 2, 16, 16), (2, 8, 128, 64), opset=23)
    yield both("RotaryEmbedding", lambda b, h, n, d: [floats(b, h, n, d), Const(floats(n, d // 2)), Const(floats(n, d // 2)),
                                                      np.broadcast_to(np.arange(n), (b, n)).astype(I)], (1, 2, 16, 16), (2, 8, 128, 64), opset=23)


def quantization():
    pair = lambda: [Const(F(.02)), Const(np.uint8(128))]
    yield both("QuantizeLinear", lambda *s: [floats(*s)] + pair(), *FLAT)
    yield both("QuantizeLinear", lambda *s: [floats(*s), Const(floats(s[1], low=.01, high=.1)), Const(np.zeros(s[1], np.int8))], *FLAT, "per axis")
    yield both("DequantizeLinear", lambda *s: [bytes_of(*s)] + pair(), *FLAT)
    yield both("DynamicQuantizeLinear", lambda *s: [floats(*s)], *FLAT, n_out=3)


def movement():
    yield both("Concat", lambda *s: [floats(*s), floats(*s)], *FLAT, "first", axis=0)
    yield both("Concat", lambda *s: [floats(*s), floats(*s)], *FLAT, "last", axis=1)
    yield both("Split", lambda *s: [floats(*s)], *FLAT, "first", n_out=4, axis=0, num_outputs=4)
    yield both("Split", lambda *s: [floats(*s)], *FLAT, "last", n_out=4, axis=1, num_outputs=4)
    yield both("Slice", lambda *s: [floats(*s), Const([1, 1]), Const([-1, -1])], *FLAT)
    yield both("Slice", lambda *s: [floats(*s), Const([0]), Const([1 << 40]), Const([1]), Const([2])], *FLAT, "every other")
    yield both("Slice", lambda *s: [floats(*s), Const([-1]), Const([-1 << 40]), Const([1]), Const([-1])], *FLAT, "backwards")
    yield both("Gather", lambda n, k: [floats(n, k), ints(n, high=n)], *FLAT, "rows", axis=0)
    yield both("Gather", lambda n, k: [floats(n, k), ints(k, high=k)], *FLAT, "columns", axis=1)
    yield both("Gather", lambda n, k: [Const(floats(1000, k)), ints(1, n, high=1000)], *FLAT, "embeddings")
    yield both("GatherElements", lambda n, k: [floats(n, k), ints(n, k, high=k)], *FLAT, axis=1)
    yield both("GatherND", lambda n, k: [floats(n, k), ints(n * 4, 2, high=n)], (64, 256), (1024, 1024))
    yield both("GatherND", lambda n, k: [floats(n, k), ints(n, 1, high=n)], (64, 256), (1024, 1024), "rows")

    def permuted(n, k):
        return [floats(n, k), RNG.permuted(np.broadcast_to(np.arange(k), (n, k)), axis=1).astype(I), floats(n, k)]
    yield both("ScatterElements", permuted, *FLAT, axis=1)
    yield both("ScatterElements", permuted, *FLAT, "added", axis=1, reduction="add")
    yield both("ScatterND", lambda n, k: [floats(n, k), RNG.permutation(n)[:n // 2, None].astype(I), floats(n // 2, k)], *FLAT, "rows")
    yield both("ScatterND", lambda n, k: [floats(n, k), np.stack([RNG.permutation(n), RNG.permutation(n)], 1).astype(I), floats(n)], *FLAT, "elements")
    yield both("Transpose", lambda *s: [floats(*s)], *FLAT, perm=[1, 0])
    yield both("Transpose", lambda *s: [floats(*s)], *IMAGE, "to channels last", perm=[0, 2, 3, 1])
    yield both("Transpose", lambda *s: [floats(*s)], *IMAGE, "of heads", perm=[0, 2, 1, 3])
    for mode in "constant", "reflect", "edge", "wrap":
        yield both("Pad", lambda *s: [floats(*s), Const([0, 0, 2, 2, 0, 0, 2, 2])], *IMAGE, mode, mode=mode)
    yield both("Tile", lambda *s: [floats(*s), Const([2, 2])], *FLAT)
    yield both("Expand", lambda *s: [floats(s[0], 1), Const(s)], *FLAT)
    yield both("Reshape", lambda *s: [floats(*s), Const([-1])], *FLAT)
    yield both("Flatten", lambda *s: [floats(*s)], *IMAGE)
    yield both("Squeeze", lambda *s: [floats(1, *s), Const([0])], *FLAT)
    yield both("Unsqueeze", lambda *s: [floats(*s), Const([0])], *FLAT)
    yield both("Shape", lambda *s: [floats(*s)], *FLAT)
    yield both("DepthToSpace", lambda *s: [floats(*s)], *IMAGE, blocksize=2)
    yield both("SpaceToDepth", lambda *s: [floats(*s)], *IMAGE, blocksize=2)
    yield both("ReverseSequence", lambda n, k: [floats(n, k, 16), ints(k, high=n, low=1)], (16, 32), (128, 256))
    yield both("Compress", lambda *s: [floats(*s), bools(s[1])], *FLAT, axis=1)
    yield both("Trilu", lambda *s: [floats(*s)], *FLAT)
    yield both("EyeLike", lambda *s: [floats(*s)], *FLAT)
    yield both("OneHot", lambda n, k: [ints(n, high=k), Const(I(k)), Const(F([0, 1]))], *FLAT)
    yield both("Range", lambda n: [np.array(0, I), np.array(n, I), np.array(1, I)], (1000,), (1000000,))
    yield both("ConstantOfShape", lambda *s: [np.array(s, I)], *FLAT)
    yield both("CenterCropPad", lambda *s: [floats(*s), Const([24, 48])], *IMAGE, axes=[2, 3])


def images():
    for mode in "nearest", "linear", "cubic":
        yield both("Resize", lambda *s: [floats(*s), None, Const(F([1, 1, 2, 2]))], *IMAGE, f"{mode} ×2", mode=mode)
        yield both("Resize", lambda *s: [floats(*s), None, Const(F([1, 1, .6, .6]))], *IMAGE, f"{mode} ×0.6", mode=mode)
    yield both("Upsample", lambda *s: [floats(*s), Const(F([1, 1, 2, 2]))], *IMAGE, opset=9)
    for mode in "linear", "nearest", "cubic":
        yield both("GridSample", lambda n, c, h, w: [floats(n, c, h, w), floats(n, h, w, 2)], *IMAGE, mode, mode=mode)
    yield both("AffineGrid", lambda n, c, h, w: [floats(n, 2, 3), Const([n, c, h, w])], *IMAGE)
    boxes = lambda n, size: np.concatenate([p := RNG.uniform(0, size / 2, (n, 2)), p + RNG.uniform(1, size / 2, (n, 2))], 1).astype(F)
    yield both("RoiAlign", lambda n, c, h, w: [floats(n, c, h, w), boxes(8 * n, w), ints(8 * n, high=n)], *IMAGE, output_height=7, output_width=7, sampling_ratio=2)
    yield both("MaxRoiPool", lambda n, c, h, w: [floats(n, c, h, w), np.concatenate([ints(8 * n, 1, high=n), boxes(8 * n, w)], 1).astype(F)], *IMAGE, pooled_shape=[7, 7])
    yield both("NonMaxSuppression", lambda n, c: [boxes(n, 100)[None], floats(1, c, n, low=0), Const([20]), Const(F([.5])), Const(F([.1]))], (100, 4), (2000, 20))


def signals():
    yield both("DFT", lambda b, n: [floats(b, n, 1), None, Const(I(1))], (1, 256), (16, 4096), opset=20)
    yield both("DFT", lambda b, n: [floats(b, n, 1), None, Const(I(1))], (1, 250), (16, 4000), "not a power of two", opset=20, onesided=1)
    yield both("STFT", lambda b, n: [floats(b, n, 1), Const(I(128)), Const(floats(512))], (1, 4096), (4, 64000), opset=17)
    for op in "HannWindow HammingWindow BlackmanWindow".split():
        yield both(op, lambda n: [np.array(n, I)], (256,), (16384,))
    yield both("MelWeightMatrix", lambda n: [np.array(n, I), np.array(512, I), np.array(16000, I), np.array(0, F), np.array(8000, F)], (40,), (128,))
    yield both("Bernoulli", lambda *s: [floats(*s, low=0)], *FLAT, seed=1.)
    yield both("RandomUniformLike", lambda *s: [floats(*s)], *FLAT, seed=1.)
    yield both("RandomNormalLike", lambda *s: [floats(*s)], *FLAT, seed=1.)
    yield both("Multinomial", lambda *s: [floats(*s)], *ROWS, sample_size=10, seed=1.)


def forest(n_trees, depth, n_features, prefix):
    """Perfect trees over random features, as attributes of TreeEnsembleRegressor or -Classifier."""
    inner, total = 2 ** depth - 1, 2 ** (depth + 1) - 1
    node = np.tile(np.arange(total), n_trees)
    tree = np.repeat(np.arange(n_trees), total)
    is_leaf = node >= inner
    leaf = {f"{prefix}_treeids": tree[is_leaf], f"{prefix}_nodeids": node[is_leaf], f"{prefix}_ids": np.zeros(is_leaf.sum(), int),
            f"{prefix}_weights": RNG.normal(size=is_leaf.sum())}
    return {k: v.tolist() for k, v in dict(
        nodes_treeids=tree, nodes_nodeids=node, nodes_featureids=np.where(is_leaf, 0, RNG.integers(0, n_features, node.size)),
        nodes_values=np.where(is_leaf, 0, RNG.uniform(-1, 1, node.size)), nodes_truenodeids=np.where(is_leaf, 0, 2 * node + 1),
        nodes_falsenodeids=np.where(is_leaf, 0, 2 * node + 2), nodes_hitrates=np.ones(node.size),
        nodes_missing_value_tracks_true=np.zeros(node.size, int), **leaf).items()} | {
            "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist()}


def machine_learning():
    ml = {"domain": "ai.onnx.ml"}
    for what, n_trees, depth in (("10 trees", 10, 4), ("200 trees", 200, 7)):
        yield both("TreeEnsembleRegressor", lambda *s: [floats(*s)], (1, 16), (1000, 16), what, n_targets=1,
                   **forest(n_trees, depth, 16, "target"), **ml)
    yield both("TreeEnsembleClassifier", lambda *s: [floats(*s)], (1, 16), (1000, 16), n_out=2, classlabels_int64s=[0, 1], post_transform="LOGISTIC",
               **forest(50, 6, 16, "class"), **ml)
    yield both("LinearRegressor", lambda *s: [floats(*s)], (1, 100), (1000, 100), targets=3, coefficients=floats(300).tolist(), intercepts=[.1, .2, .3], **ml)
    yield both("LinearClassifier", lambda *s: [floats(*s)], (1, 100), (1000, 100), n_out=2, coefficients=floats(300).tolist(), intercepts=[.1, .2, .3],
               classlabels_ints=[0, 1, 2], post_transform="SOFTMAX", **ml)
    yield both("SVMRegressor", lambda *s: [floats(*s)], (1, 20), (1000, 20), kernel_type="RBF", kernel_params=[.5, 0., 3.], n_supports=200,
               support_vectors=floats(4000).tolist(), coefficients=floats(200).tolist(), rho=[.1], **ml)
    yield both("SVMClassifier", lambda *s: [floats(*s)], (1, 20), (1000, 20), n_out=2, kernel_type="RBF", kernel_params=[.5, 0., 3.], vectors_per_class=[60, 70, 70],
               support_vectors=floats(4000).tolist(), coefficients=floats(400).tolist(), rho=[.1, .2, .3], classlabels_ints=[0, 1, 2], **ml)
    yield both("Scaler", lambda *s: [floats(*s)], (1, 100), (1000, 100), offset=floats(100).tolist(), scale=floats(100).tolist(), **ml)
    for norm in "L1", "L2", "MAX":
        yield both("Normalizer", lambda *s: [floats(*s)], (16, 100), (1000, 100), norm, norm=norm, **ml)
    yield both("Binarizer", lambda *s: [floats(*s)], *FLAT, threshold=.5, **ml)
    yield both("Imputer", lambda *s: [floats(*s)], *FLAT, imputed_value_floats=[1.], replaced_value_float=float("nan"), **ml)
    yield both("LabelEncoder", lambda *s: [ints(*s)], (1000,), (100000,), keys_int64s=list(range(100)), values_floats=floats(100).tolist(), **ml)
    yield both("LabelEncoder", lambda *s: [ints(*s).astype(str)], (1000,), (100000,), "strings", keys_strings=[str(i) for i in range(100)], values_int64s=list(range(100)), **ml)
    yield both("OneHotEncoder", lambda *s: [ints(*s)], (1000,), (10000,), cats_int64s=list(range(100)), **ml)
    yield both("ArrayFeatureExtractor", lambda *s: [floats(*s), Const(np.arange(0, s[1], 2))], *FLAT, **ml)
    yield both("FeatureVectorizer", lambda *s: [floats(*s), floats(*s)], (16, 32), (1000, 32), inputdimensions=[32, 32], **ml)
    yield both("TfIdfVectorizer", lambda *s: [ints(*s)], (16, 32), (1000, 256), mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=0,
               ngram_counts=[0, 50], ngram_indexes=list(range(100)), pool_int64s=list(range(50)) + ints(100).tolist())
    words = lambda n: np.array([f"Word {i % 97} of Many" for i in range(n)])
    yield both("StringNormalizer", lambda n: [words(n)], (100,), (10000,), case_change_action="LOWER", is_case_sensitive=1)
    yield both("StringConcat", lambda n: [words(n), words(n)], (100,), (10000,))
    yield both("StringSplit", lambda n: [words(n)], (100,), (10000,), delimiter=" ", n_out=2)
    yield both("RegexFullMatch", lambda n: [words(n)], (100,), (10000,), pattern="Word [0-9]+ of .*")


GROUPS = (elementwise, reductions, normalizations, windows, products, quantization, movement, images, signals, machine_learning)
