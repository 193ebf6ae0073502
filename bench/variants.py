"""More cases of single operators: other element types, axes, broadcasts, modes and sizes than those of cases.py."""

import numpy as np
from onnx import TensorProto, helper

from cases import FLAT, IMAGE, ROWS, RNG, Const, F, I, both, bools, bytes_of, floats, ints

H, D, I32, U8 = np.float16, np.float64, np.int32, np.uint8


def typed(dtype, low=-1., high=1.):
    """Operands of one element type: integers from the same bounds times 100."""
    if np.dtype(dtype).kind == "f": return lambda *s: floats(*s, low=low, high=high).astype(dtype)
    return lambda *s: RNG.integers(int(low*100), int(high*100), s).astype(dtype)


def element_types():
    named = {"double": D, "float16": H, "int32": I32, "int64": I, "uint8": U8}
    def of(ops, types, make, **rest):
        for op in ops.split():
            for t in types.split():
                yield both(op, lambda *s, d=named[t]: make(d, *s), *FLAT, t, **rest)
    one = lambda d, *s: [typed(d, 0. if d == U8 else -1.)(*s)]
    two = lambda d, *s: [typed(d, 0. if d == U8 else -1.)(*s), typed(d, .1)(*s)]
    yield from of("Abs Neg Sign", "double float16 int32 int64", one)
    yield from of("Relu", "double float16 int32", one)
    yield from of("Exp Tanh Sigmoid Sqrt Log Erf", "double float16", lambda d, *s: [typed(d, .1)(*s)])
    yield from of("Floor Round", "double float16", one)
    yield from of("Sin", "double float16", one)
    yield from of("Add Sub Mul Div", "double float16 int32 uint8", two)
    yield from of("Max Min", "double float16 int32 int64", two)
    yield from of("Pow", "double int64 int32", lambda d, *s: [typed(d, .1, .5)(*s), Const(d(3))])
    yield from of("Equal Less", "double float16 int32", two)
    yield from of("Mod", "int32 uint8", two)
    yield both("Clip", lambda *s: [ints(*s), Const(I(20)), Const(I(50))], *FLAT, "int64")
    yield both("Clip", lambda *s: [floats(*s).astype(H), Const(H(-.5)), Const(H(.5))], *FLAT, "float16")
    yield both("Clip", lambda *s: [bytes_of(*s), Const(U8(20)), Const(U8(50))], *FLAT, "uint8")
    yield both("Equal", lambda *s: [bools(*s), bools(*s)], *FLAT, "bool")
    yield both("BitShift", lambda *s: [bytes_of(*s), ints(*s, high=7).astype(U8)], *FLAT, "uint8", direction="RIGHT")
    for t in "double float16 int64 uint8".split():
        yield both("Where", lambda *s, d=named[t]: [bools(*s), typed(d, 0.)(*s), typed(d, 0.)(*s)], *FLAT, t)
    for a in ("bool", "double", "int32", "uint8", "int64", "float16", "float32"):
        for b, to in (("float", 1), ("int64", 7), ("int32", 6), ("bool", 9), ("uint8", 2), ("float16", 10), ("double", 11)):
            if a == "float32" or b.startswith(a) or (a, b)in(("int64", "float"), ("float16", "float")) : continue
            yield both("Cast", lambda *s, a=a: [ints(*s, high=2 if a == "bool" else 90).astype(a)], *FLAT, f"{a} to {b}", to=to)
    yield both("Cast", lambda n: [floats(n).astype(str)], (100,), (20000,), "string to float", to=1)
    yield both("Cast", lambda n: [floats(n)], (100,), (20000,), "float to string", to=8)
    yield both("Cast", lambda n: [ints(n)], (100,), (20000,), "int64 to string", to=8)


def broadcasts():
    yield both("Add", lambda n, k: [floats(n, k), floats(n, 1)], *FLAT, "of a column")
    yield both("Add", lambda n, k: [floats(n, 1), floats(1, k)], *FLAT, "of a column and a row")
    yield both("Sub", lambda *s: [Const(F(1)), floats(*s)], *FLAT, "from a scalar")
    yield both("Div", lambda n, k: [floats(n, k), floats(n, 1, low=.5)], *FLAT, "by a column")
    yield both("Mul", lambda *s: [floats(*s), floats(s[0], 1, s[2], s[3])], *IMAGE, "of a middle axis")
    yield both("Add", lambda *s: [floats(*s), floats(s[0], 1, 1, s[3])], *IMAGE, "of a mask")
    yield both("Mul", lambda *s: [floats(*s), floats(s[0], s[1], 1, 1)], *IMAGE, "of planes")
    yield both("Add", lambda *s: [floats(*s), floats(s[1], 1, s[3])], *IMAGE, "of a middle hole")
    yield both("Mul", lambda *s: [floats(*s), floats(s[0]*s[1]*s[2]*s[3]).reshape(s[0], s[1], s[2], s[3])[:, :, :1, :1].copy()], (16, 32, 1, 1), (512, 512, 3, 3), "of short rows")
    yield both("Add", lambda n, k: [floats(n, k, 3), floats(3)], *FLAT, "of a short row")
    yield both("Where", lambda *s: [bools(s[0], 1, 1, s[3]), floats(*s), Const(F(-1e9))], *IMAGE, "of a mask")
    yield both("Where", lambda *s: [bools(1, 1, s[2], s[3]), floats(*s), Const(F(-1e9))], *IMAGE, "of a square mask")
    yield both("Equal", lambda n, k: [ints(n, 1), ints(1, k)], *FLAT, "int64 of a column and a row")
    yield both("Less", lambda n, k: [ints(n, 1), ints(1, k)], *FLAT, "int64 of a column and a row")
    yield both("And", lambda n, k: [bools(n, 1), bools(1, k)], *FLAT, "of a column and a row")
    yield both("Pow", lambda *s: [floats(*s, low=.1), Const(F(.5))], *FLAT, "roots")
    yield both("Pow", lambda *s: [floats(*s, low=.1), Const(F(3))], *FLAT, "cubes")
    yield both("Pow", lambda *s: [floats(*s, low=.1), Const(F(-.5))], *FLAT, "inverse roots")
    yield both("Pow", lambda *s: [floats(*s, low=.1), Const(F(1.7))], *FLAT, "1.7")
    yield both("Pow", lambda *s: [Const(F(2)), floats(*s, low=.1)], *FLAT, "of 2")
    yield both("Max", lambda *s: [floats(*s), Const(F(0))], *FLAT, "of a scalar")
    yield both("Sum", lambda *s: [floats(*s) for _ in range(4)], *FLAT, "of four")
    yield both("PRelu", lambda *s: [floats(*s), Const(floats(s[1]))], *FLAT, "of a row")
    yield both("Expand", lambda n, k: [floats(1, k), Const([n, k])], *FLAT, "rows")
    yield both("Expand", lambda *s: [floats(s[0], s[1], 1, s[3]), Const(s)], *IMAGE, "middle")
    yield both("Expand", lambda *s: [floats(s[0], s[1], 1, 1).astype(I), Const(s)], *IMAGE, "planes int64")


def axes():
    for op in "Sum Mean Max L2 LogSumExp Prod".split():
        yield both("Reduce" + op, lambda *s: [floats(*s), Const([1])], *IMAGE, "middle")
    for op in "Sum Mean".split():
        yield both("Reduce" + op, lambda *s: [floats(*s), Const([1, 3])], *IMAGE, "middle and last")
        yield both("Reduce" + op, lambda *s: [floats(*s), Const([0, 2, 3])], *IMAGE, "all but channels")
        yield both("Reduce" + op, lambda *s: [floats(*s)], *IMAGE, "all")
    yield both("ReduceMax", lambda *s: [floats(*s)], *IMAGE, "all")
    yield both("ReduceSum", lambda n, k: [floats(n*k, 3), Const([-1])], *FLAT, "short rows")
    yield both("ReduceMax", lambda n, k: [floats(n*k, 3), Const([-1])], *FLAT, "short rows")
    yield both("ReduceMean", lambda n, k: [floats(n, 3, k), Const([1])], *FLAT, "short middle")
    for t in "int32 int64 double float16 uint8".split():
        for op in "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd".split():
            if t == "uint8" and op in ("ReduceSum", "ReduceMean", "ReduceProd"): continue
            yield both(op, lambda *s, t=t: [ints(*s, high=3, low=1).astype(t), Const([-1])], *ROWS, f"{t} last")
            yield both(op, lambda *s, t=t: [ints(*s, high=3, low=1).astype(t), Const([0])], *ROWS, f"{t} first")
    for t in "int32 int64 double uint8 float16".split():
        yield both("ArgMax", lambda *s, t=t: [ints(*s).astype(t)], *ROWS, f"{t}", axis=-1)
    yield both("ArgMax", lambda *s: [floats(*s)], *ROWS, "first", axis=0)
    yield both("ArgMax", lambda *s: [floats(*s)], *ROWS, "last index", axis=-1, select_last_index=1)
    yield both("ArgMin", lambda *s: [floats(*s)], *IMAGE, "middle", axis=2)
    yield both("CumSum", lambda *s: [ints(*s), Const(I(1))], *ROWS, "int64")
    yield both("CumSum", lambda *s: [ints(*s).astype(I32), Const(I(1))], *ROWS, "int32")
    yield both("CumSum", lambda *s: [floats(*s).astype(D), Const(I(1))], *ROWS, "double")
    yield both("CumSum", lambda *s: [floats(*s), Const(I(1))], *ROWS, "reverse exclusive", reverse=1, exclusive=1)
    yield both("CumSum", lambda *s: [floats(*s), Const(I(1))], *IMAGE, "middle")
    yield both("TopK", lambda *s: [floats(*s), Const([s[0]//2])], *ROWS, "first half of an axis", n_out=2, axis=0)
    yield both("TopK", lambda *s: [floats(*s), Const([s[1]//2])], *ROWS, "half", n_out=2)
    yield both("TopK", lambda *s: [floats(*s), Const([s[1]])], *ROWS, "sort", n_out=2)
    yield both("TopK", lambda *s: [floats(*s), Const([1])], *ROWS, "1", n_out=2)
    yield both("TopK", lambda *s: [ints(*s, high=100000), Const([20])], *ROWS, "int64", n_out=2)
    yield both("TopK", lambda *s: [floats(*s), Const([100])], *ROWS, "unsorted", n_out=2, sorted=0)
    yield both("TopK", lambda *s: [floats(*s), Const([5])], *IMAGE, "of channels", n_out=2, axis=1)
    yield both("TopK", lambda n: [floats(n), Const([n//10])], (1000,), (1000000,), "of a long row", n_out=2, axis=0)
    yield both("TopK", lambda n: [floats(n), Const([300])], (1000,), (1000000,), "300 of a long row", n_out=2, axis=0)
    yield both("Unique", lambda n: [ints(n, high=n // 4)], (1000,), (100000,), "unsorted", n_out=4, sorted=0)
    yield both("Unique", lambda n: [floats(n)], (1000,), (100000,), "floats", n_out=4)
    yield both("Unique", lambda n: [ints(n, 4, high=9)], (1000,), (20000,), "rows", n_out=4, axis=0)
    yield both("NonZero", lambda *s: [bools(*s)], *FLAT, "bool")
    yield both("NonZero", lambda *s: [bools(*s).astype(I)], *IMAGE, "int64")
    yield both("Softmax", lambda *s: [floats(*s).astype(D)], *ROWS, "double", axis=-1)
    yield both("Softmax", lambda *s: [floats(*s).astype(H)], *ROWS, "float16", axis=-1)
    yield both("Softmax", lambda n, k: [floats(n, k)], (4, 4000), (32, 50000), "of long rows", axis=-1)
    yield both("Softmax", lambda n, k: [floats(n, k)], (64, 10), (50000, 10), "of short rows", axis=-1)
    yield both("Softmax", lambda n, k: [floats(n, k)], *FLAT, "first", axis=0)
    yield both("LogSoftmax", lambda *s: [floats(*s)], *IMAGE, "of channels", axis=1)
    yield both("Hardmax", lambda *s: [floats(*s)], *IMAGE, "of channels", axis=1)
    yield both("Softmax", lambda *s: [floats(*s)], *IMAGE, "before 13", axis=1, opset=11)
    yield both("LayerNormalization", lambda *s: [floats(*s).astype(H), Const(floats(s[1]).astype(H)), Const(floats(s[1]).astype(H))], *ROWS, "float16")
    yield both("LayerNormalization", lambda *s: [floats(*s).astype(D), Const(floats(s[1]).astype(D)), Const(floats(s[1]).astype(D))], *ROWS, "double")
    yield both("LayerNormalization", lambda *s: [floats(*s), Const(floats(*s[1:])), Const(floats(*s[1:]))], *IMAGE, "of images", axis=1)
    yield both("LayerNormalization", lambda n, k: [floats(n, k), Const(floats(k))], (64, 32), (30000, 32), "short rows")
    yield both("BatchNormalization", lambda *s: [floats(*s).astype(D)] + [Const(floats(s[1], low=.5).astype(D)) for _ in range(4)], *IMAGE, "double")
    yield both("BatchNormalization", lambda *s: [floats(*s)] + [Const(floats(s[1], low=.5)) for _ in range(4)], *ROWS, "rows")
    yield both("InstanceNormalization", lambda n, c, k: [floats(n, c, k), Const(floats(c)), Const(floats(c))], (1, 16, 64), (4, 256, 1000), "1-D")
    yield both("LpNormalization", lambda *s: [floats(*s)], *ROWS, "first", axis=0, p=2)
    yield both("LpNormalization", lambda *s: [floats(*s)], *ROWS, "p=1", axis=-1, p=1)
    yield both("NegativeLogLikelihoodLoss", lambda n, c, h, w: [floats(n, c, h, w), ints(n, h, w, high=c)], *IMAGE, "of images")
    yield both("SoftmaxCrossEntropyLoss", lambda n, c, h, w: [floats(n, c, h, w), ints(n, h, w, high=c)], *IMAGE, "of images")


def more_windows():
    pools = {"3×3": dict(kernel_shape=[3, 3], pads=[1]*4), "2×2 /2": dict(kernel_shape=[2, 2], strides=[2, 2]),
             "5×5": dict(kernel_shape=[5, 5], pads=[2]*4), "3×3 dilated": dict(kernel_shape=[3, 3], dilations=[2, 2]),
             "7×7 /7": dict(kernel_shape=[7, 7], strides=[7, 7])}
    for what, k in pools.items():
        yield both("MaxPool", lambda *s: [floats(*s)], *IMAGE, what, **k)
        yield both("AveragePool", lambda *s: [floats(*s)], *IMAGE, what, **k)
    yield both("MaxPool", lambda *s: [floats(*s)], *IMAGE, "2×2 /2 with indices", n_out=2, **pools["2×2 /2"])
    yield both("AveragePool", lambda *s: [floats(*s)], *IMAGE, "padding counted", count_include_pad=1, **pools["3×3"])
    yield both("MaxPool", lambda *s: [floats(*s)], (1, 16, 8, 16, 16), (2, 32, 16, 32, 32), "3-D", kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    yield both("AveragePool", lambda *s: [floats(*s)], (1, 16, 8, 16, 16), (2, 32, 16, 32, 32), "3-D", kernel_shape=[3, 3, 3], strides=[2, 2, 2], pads=[1]*6)
    yield both("MaxPool", lambda *s: [floats(*s)], (1, 16, 256), (4, 64, 4096), "1-D", kernel_shape=[2], strides=[2])
    yield both("AveragePool", lambda *s: [floats(*s)], (1, 16, 256), (4, 64, 4096), "1-D", kernel_shape=[25], pads=[12, 12])
    yield both("MaxPool", lambda *s: [floats(*s).astype(D)], *IMAGE, "double", **pools["3×3"])
    yield both("MaxPool", lambda *s: [bytes_of(*s)], *IMAGE, "uint8", **pools["3×3"])
    yield both("MaxPool", lambda *s: [floats(*s).astype(H)], *IMAGE, "float16", **pools["3×3"])
    yield both("LpPool", lambda *s: [floats(*s)], *IMAGE, "p=3", p=3, **pools["2×2 /2"])
    yield both("GlobalAveragePool", lambda *s: [floats(*s)], (1, 64, 7, 7), (16, 2048, 7, 7), "7×7")
    yield both("GlobalMaxPool", lambda *s: [floats(*s)], (1, 64, 7, 7), (16, 2048, 7, 7), "7×7")
    yield both("Col2Im", lambda n, c, h, w: [floats(n, c * 4, h * w // 4), Const([h, w]), Const([2, 2])], *IMAGE, "patches", strides=[2, 2])
    yield both("Attention", lambda b, h, n, d: [floats(b, h, 1, d), floats(b, h, n, d), floats(b, h, n, d), None, floats(b, h, n, d), floats(b, h, n, d)], (1, 2, 16, 16), (2, 8, 128, 64), "of a step with past", opset=23, n_out=3)
    yield both("Attention", lambda b, h, n, d: [floats(b, h, n, d) for _ in range(3)], (1, 2, 16, 16), (2, 8, 256, 64), "causal", opset=23, is_causal=1)
    yield both("Attention", lambda b, h, n, d: [floats(b, h, n, d), floats(b, h//2, n, d), floats(b, h//2, n, d), floats(n, n)], (1, 2, 16, 16), (2, 8, 128, 64), "grouped, mask", opset=23)
    yield both("Attention", lambda b, h, n, d: ([floats(b, n, h*d) for _ in range(3)], dict(q_num_heads=h, kv_num_heads=h)), (1, 2, 16, 16), (2, 8, 128, 64), "3-D", opset=23)
    for e, f in {"bhqd,bhkd->bhqk": lambda b, n, k: [floats(b, 4, n, k), floats(b, 4, n, k)],
                 "bqhd,bkhd->bhqk": lambda b, n, k: [floats(b, n, 4, k), floats(b, n, 4, k)],
                 "bhqk,bkhd->bqhd": lambda b, n, k: [floats(b, 4, n, n), floats(b, n, 4, k)],
                 "bij->bji": lambda b, n, k: [floats(b, n, k)], "bij->bi": lambda b, n, k: [floats(b, n, k)],
                 "i,j->ij": lambda b, n, k: [floats(b * n), floats(n)], "bij,bij->": lambda b, n, k: [floats(b, n, k)] * 2,
                 "bic,cd->bid": lambda b, n, k: [floats(b, n, k), Const(floats(k, k))],
                 "bnij,bnj->bni": lambda b, n, k: [floats(b, 4, n, k), floats(b, 4, k)],
                 "bct,nt->bcnt": lambda b, n, k: [floats(b, k, n), floats(4, n)],
                 "nkctv,kvw->nctw": lambda b, n, k: [floats(2, 3, k, n // 8, 25), Const(floats(3, 25, 25))],
                 "bij,bjk,bkl->bil": lambda b, n, k: [floats(b, n, k), floats(b, k, n), floats(b, n, k)],
                 "ii->i": lambda b, n, k: [floats(n * 4, n * 4)]}.items():
        yield both("Einsum", f, (4, 16, 32), (12, 128, 64), e, equation=e)
    yield both("Det", lambda b, n: [floats(b, n, n)], (8, 3), (10000, 3), "3×3")


def more_movement():
    yield both("Concat", lambda *s: [floats(*s), floats(*s), floats(*s)], *IMAGE, "channels", axis=1)
    yield both("Concat", lambda *s: [bytes_of(*s), bytes_of(*s)], *FLAT, "uint8 last", axis=1)
    yield both("Concat", lambda n, k: [floats(n, k, 1), floats(n, k, 1)], *FLAT, "of pairs", axis=2)
    yield both("Split", lambda n, k: [floats(n, k, 4)], *FLAT, "of four", n_out=4, axis=2, num_outputs=4)
    yield both("Slice", lambda *s: [floats(*s), Const([0, 0]), Const([99999, 99999]), Const([2, 3]), Const([2, 2])], *IMAGE, "strided images")
    yield both("Slice", lambda *s: [ints(*s), Const([0]), Const([s[1]//2]), Const([1])], *FLAT, "int64 half")
    yield both("Gather", lambda *s: [floats(*s), ints(s[1]//2, high=s[1])], *IMAGE, "channels", axis=1)
    yield both("Gather", lambda n, k: [ints(n, k), ints(k, high=k)], *FLAT, "int64 columns", axis=1)
    yield both("Gather", lambda n, k: [bytes_of(n, k), ints(k, high=k)], *FLAT, "uint8 columns", axis=1)
    yield both("Gather", lambda *s: [floats(*s), Const(I(3))], *IMAGE, "one row", axis=2)
    yield both("Gather", lambda n: [floats(n), ints(n, high=n)], (1000,), (1000000,), "elements")
    yield both("GatherElements", lambda n, k: [floats(n, k), ints(n, k, high=n)], *FLAT, "first", axis=0)
    yield both("GatherElements", lambda *s: [floats(*s), ints(*s, high=s[1])], *IMAGE, "middle", axis=1)
    yield both("GatherElements", lambda n, k: [bytes_of(n, k), ints(n, k, high=k)], *FLAT, "uint8", axis=1)
    yield both("GatherElements", lambda n, k: [ints(n, k), ints(n, k, high=k).astype(I32)], *FLAT, "int64 by int32", axis=1)
    yield both("GatherND", lambda b, n, k, d: [floats(b, n, k), ints(b, d, 1, high=n)], (2, 16, 32, 8), (16, 256, 256, 200), "in batches", batch_dims=1)
    def permuted(n, k, t=F):
        return [floats(n, k).astype(t), RNG.permuted(np.broadcast_to(np.arange(n)[:, None], (n, k)), axis=0).astype(I), floats(n, k).astype(t)]
    yield both("ScatterElements", permuted, *FLAT, "first", axis=0)
    yield both("ScatterElements", lambda *s: permuted(*s, t=I), *FLAT, "int64 first", axis=0)
    yield both("ScatterElements", permuted, *FLAT, "max", axis=0, reduction="max")
    yield both("ScatterND", lambda n, k: [floats(n, k), RNG.integers(0, n, (n, 1)).astype(I), floats(n, k)], *FLAT, "rows added", reduction="add")
    yield both("ScatterND", lambda n, k: [ints(n, k), RNG.permutation(n)[:n // 2, None].astype(I), ints(n // 2, k)], *FLAT, "int64 rows")
    def dense(n, k):
        at = np.stack(np.meshgrid(np.arange(n), np.arange(k), indexing="ij"), -1).astype(I)
        return [floats(n, k), at, floats(n, k)]
    yield both("ScatterND", dense, *FLAT, "every element")
    yield both("Transpose", lambda *s: [bytes_of(*s)], *IMAGE, "uint8 to channels last", perm=[0, 2, 3, 1])
    yield both("Transpose", lambda *s: [ints(*s)], *FLAT, "int64", perm=[1, 0])
    yield both("Transpose", lambda *s: [floats(*s).astype(H)], *FLAT, "float16", perm=[1, 0])
    yield both("Transpose", lambda b, n, d, h: [floats(b, n, d, h)], (1, 8, 8, 32), (4, 64, 64, 64), "reversed", perm=[3, 2, 1, 0])
    yield both("Transpose", lambda n, k: [floats(n, k, 3)], *FLAT, "of three", perm=[2, 0, 1])
    yield both("Transpose", lambda *s: [floats(s[0], s[1], s[2]//4, 4, s[3]//4, 4)], *IMAGE, "of windows", perm=[0, 2, 4, 3, 5, 1])
    yield both("Pad", lambda *s: [floats(*s), Const([0, 1, 0, 1])], *FLAT, "rows")
    yield both("Pad", lambda *s: [floats(*s), Const([0, 0, 0, 0, 0, s[1], 0, 0])], *IMAGE, "channels")
    yield both("Pad", lambda *s: [bytes_of(*s), Const([0, 0, 2, 2, 0, 0, 2, 2])], *IMAGE, "uint8")
    yield both("Pad", lambda *s: [floats(*s), Const([0, 0, -2, -2, 0, 0, -2, -2])], *IMAGE, "negative")
    yield both("Pad", lambda n, k: [floats(1, n, k), Const([0, 0, k//2, 0, 0, k//2])], *FLAT, "reflect long", mode="reflect")
    yield both("Tile", lambda n, k: [floats(n, k, 1), Const([1, 1, 4])], *FLAT, "elements")
    yield both("Tile", lambda n, k: [floats(n, k), Const([1, 4])], *FLAT, "columns")
    yield both("Compress", lambda *s: [floats(*s), bools(s[0]*s[1])], *FLAT, "elements")
    yield both("Compress", lambda *s: [floats(*s), bools(s[0])], *FLAT, "rows", axis=0)
    yield both("Trilu", lambda *s: [ints(*s)], *FLAT, "int64 lower", upper=0)
    yield both("Trilu", lambda *s: [floats(*s)], *IMAGE, "of images")
    yield both("OneHot", lambda n, k: [ints(n, high=k), Const(I(k)), Const(F([0, 1]))], *FLAT, "first", axis=0)
    yield both("OneHot", lambda n, k: [ints(n, k, high=10), Const(I(10)), Const(I([0, 1]))], *FLAT, "ten int64")
    yield both("Range", lambda n: [np.array(0, F), np.array(n, F), np.array(1, F)], (1000,), (1000000,), "float")
    yield both("DepthToSpace", lambda *s: [floats(*s)], *IMAGE, "CRD", blocksize=2, mode="CRD")
    yield both("DepthToSpace", lambda n, h: [floats(n, 48, h, h)], (1, 32), (4, 128), "by four", blocksize=4, mode="CRD")
    yield both("DepthToSpace", lambda *s: [bytes_of(*s)], *IMAGE, "uint8", blocksize=2)
    yield both("ReverseSequence", lambda n, k: [floats(n, k, 16), ints(n, high=k, low=1)], (16, 32), (128, 256), "batch first", batch_axis=0, time_axis=1)
    yield both("ConstantOfShape", lambda *s: [np.array(s, I)], *FLAT, "int64", value=helper.make_tensor("v", TensorProto.INT64, [1], [7]))
    yield both("Size", lambda *s: [floats(*s)], *FLAT)
    yield both("EyeLike", lambda *s: [ints(*s)], *FLAT, "int64", k=1)


def more_images():
    def resize(what, scale, make=floats, **attributes):
        return both("Resize", lambda *s: [make(*s), None, Const(F(scale))], *IMAGE, what, **attributes)
    yield resize("linear ×2 align_corners", [1, 1, 2, 2], mode="linear", coordinate_transformation_mode="align_corners")
    yield resize("linear ×2 asymmetric", [1, 1, 2, 2], mode="linear", coordinate_transformation_mode="asymmetric")
    yield resize("linear ×1.7", [1, 1, 1.7, 1.7], mode="linear")
    yield resize("linear ×0.5", [1, 1, .5, .5], mode="linear")
    yield resize("nearest ×1.7", [1, 1, 1.7, 1.7], mode="nearest")
    yield resize("nearest ×2 asymmetric floor", [1, 1, 2, 2], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    yield resize("linear antialias ×0.4", [1, 1, .4, .4], mode="linear", antialias=1)
    yield resize("cubic antialias ×0.4", [1, 1, .4, .4], mode="cubic", antialias=1)
    yield resize("linear uint8 ×2", [1, 1, 2, 2], bytes_of, mode="linear")
    yield resize("nearest uint8 ×2", [1, 1, 2, 2], bytes_of, mode="nearest")
    yield resize("nearest int32 ×2", [1, 1, 2, 2], lambda *s: ints(*s).astype(I32), mode="nearest")
    yield resize("linear channels last ×2", [1, 2, 2, 1], mode="linear")
    yield resize("cubic ×2 align_corners", [1, 1, 2, 2], mode="cubic", coordinate_transformation_mode="align_corners")
    yield both("Resize", lambda *s: [floats(*s), None, Const(F([1, 1, 2]))], (1, 16, 256), (4, 64, 4096), "linear 1-D ×2", mode="linear")
    yield both("Resize", lambda *s: [floats(*s), None, Const(F([1, 1, 2, 2, 2]))], (1, 4, 8, 8, 8), (1, 16, 32, 32, 32), "linear 3-D ×2", mode="linear")
    yield both("Resize", lambda *s: [floats(*s), None, Const(F([1, 1, 2, 2, 2]))], (1, 4, 8, 8, 8), (1, 16, 32, 32, 32), "nearest 3-D ×2", mode="nearest")
    yield both("Resize", lambda *s: [floats(*s), Const(F([0, 0, .1, .1, 1, 1, .8, .9])), Const(F([1, 1, 2, 2]))], *IMAGE, "crop", mode="linear", coordinate_transformation_mode="tf_crop_and_resize")
    yield both("Upsample", lambda *s: [floats(*s), Const(F([1, 1, 2, 2]))], *IMAGE, "linear", opset=9, mode="linear")
    for p in "border", "reflection":
        for m in "linear", "cubic", "nearest":
            yield both("GridSample", lambda n, c, h, w: [floats(n, c, h, w), floats(n, h, w, 2, low=-1.2, high=1.2)], *IMAGE, f"{m} {p}", mode=m, padding_mode=p)
    yield both("GridSample", lambda n, c, h, w: [floats(n, c, 8, h, w), floats(n, 8, h, w, 3)], (1, 4, 16, 16), (1, 16, 32, 32), "linear 3-D", mode="linear")
    yield both("GridSample", lambda n, c, h, w: [floats(n, c, 8, h, w), floats(n, 8, h, w, 3)], (1, 4, 16, 16), (1, 16, 32, 32), "nearest 3-D", mode="nearest")
    yield both("GridSample", lambda n, c, h, w: [floats(n, c, h, w), floats(n, h, w, 2)], (1, 2, 32, 32), (4, 2, 256, 256), "linear few channels", mode="linear")
    yield both("AffineGrid", lambda n, c, d: [floats(n, 3, 4), Const([n, c, d, d, d])], (1, 4, 8), (2, 4, 48), "3-D")
    boxes = lambda n, size: np.concatenate([p := RNG.uniform(0, size / 2, (n, 2)), p + RNG.uniform(1, size / 2, (n, 2))], 1).astype(F)
    roi = lambda n, c, k: [floats(n, c, 50, 50), boxes(k, 800), ints(k, high=n)]
    yield both("RoiAlign", roi, (1, 16, 8), (1, 256, 300), "256 channels", output_height=7, output_width=7, sampling_ratio=2, spatial_scale=1/16)
    yield both("RoiAlign", roi, (1, 16, 8), (1, 256, 100), "adaptive 14×14", output_height=14, output_width=14, sampling_ratio=0, spatial_scale=1/16)
    yield both("RoiAlign", roi, (1, 16, 8), (1, 256, 100), "max", output_height=7, output_width=7, sampling_ratio=2, spatial_scale=1/16, mode="max")
    yield both("NonMaxSuppression", lambda n, c: [boxes(n, 600)[None], floats(1, c, n, low=0), Const([200]), Const(F([.5])), Const(F([.3]))], (500, 2), (8400, 80), "of a detector")
    yield both("NonMaxSuppression", lambda n, c: [boxes(n, 600)[None], floats(1, c, n, low=0), Const([2000]), Const(F([.7]))], (500, 1), (6000, 1), "of proposals")
    yield both("NonMaxSuppression", lambda n, c: [boxes(n, 600)[None], floats(1, c, n, low=0), Const([1000]), Const(F([.5]))], (500, 2), (4000, 10), "without a threshold")


def more_signals():
    yield both("DFT", lambda b, n: [floats(b, n, 2), None, Const(I(1))], (1, 256), (16, 4096), "inverse", opset=20, inverse=1)
    yield both("DFT", lambda b, n: [floats(n, b, 1), None, Const(I(0))], (4, 256), (16, 4096), "first", opset=20)
    yield both("DFT", lambda b, n: [floats(b, n, 1), None, Const(I(1))], (1, 251), (16, 4093), "of a prime", opset=20)
    yield both("STFT", lambda b, n: [floats(b, n, 1), Const(I(160)), Const(floats(400))], (1, 4000), (4, 64000), "of 400", opset=17)
    yield both("Bernoulli", lambda *s: [floats(*s, low=0).astype(D)], *FLAT, "double", seed=1.)
    yield both("RandomNormal", lambda *s: ([], dict(shape=list(s))), *FLAT, seed=1.)
    yield both("RandomUniform", lambda *s: ([], dict(shape=list(s))), *FLAT, seed=1.)
    ml = {"domain": "ai.onnx.ml"}
    yield both("LabelEncoder", lambda *s: [ints(*s)], (1000,), (100000,), "to strings", keys_int64s=list(range(100)), values_strings=[f"w{i}" for i in range(100)], **ml)
    yield both("LabelEncoder", lambda *s: [ints(*s).astype(str)], (100,), (1000,), "of 20000 words", keys_strings=[str(i) for i in range(20000)], values_int64s=list(range(20000)), **ml)
    yield both("CategoryMapper", lambda *s: [ints(*s).astype(str)], (1000,), (100000,), cats_strings=[str(i) for i in range(100)], cats_int64s=list(range(100)), **ml)
    yield both("OneHotEncoder", lambda *s: [ints(*s).astype(str)], (1000,), (10000,), "strings", cats_strings=[str(i) for i in range(100)], **ml)
    words = lambda n, k: np.array([[f"w{i*j%997}" for i in range(k)] for j in range(n)])
    yield both("TfIdfVectorizer", lambda n, k: [words(n, k)], (4, 16), (100, 200), "of words", mode="TFIDF", min_gram_length=1, max_gram_length=2, max_skip_count=0,
               ngram_counts=[0, 500], ngram_indexes=list(range(1000)), pool_strings=[f"w{i}" for i in range(500)] + [f"w{i}" for i in range(1000)])
    yield both("Equal", lambda n: [words(1, n)[0], words(1, n)[0]], (100,), (10000,), "strings")
    yield both("Gather", lambda n: [words(1, n)[0], ints(n, high=n)], (100,), (10000,), "strings")
    yield both("Concat", lambda n: [words(1, n)[0], words(1, n)[0]], (100,), (10000,), "strings", axis=0)
    yield both("Unique", lambda n: [words(1, n)[0]], (100,), (10000,), "strings", n_out=4)


GROUPS = (element_types, broadcasts, axes, more_windows, more_movement, more_images, more_signals)
