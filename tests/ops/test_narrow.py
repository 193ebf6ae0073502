"""Products by constant matrices of integers and of 16-bit floats, as language models have them: large ones are read as they
are, with the bits that their floats give."""
import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from test_products import Mlp, check

DTYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "uint4": TensorProto.UINT4, "int4": TensorProto.INT4}

HALVES = {"float16": (np.float16, TensorProto.FLOAT16), "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16)}



class Quantized(Mlp):
    def integers(self, dtype, values):
        """A constant, in raw data: of halves of bytes the low ones first."""
        self.n += 1
        flat = values.reshape(-1).astype(np.uint8)
        if dtype.endswith("4"):
            flat = np.append(flat & 15, np.zeros(flat.size % 2, np.uint8))
            flat = flat[::2] | flat[1::2] << 4
        self.weights.append(helper.make_tensor(f"q{self.n}", DTYPES[dtype], values.shape, flat.tobytes(), raw=True))
        return f"q{self.n}"

    def matrix(self, dtype, k, n, block=0, turned=False, zeros=True, whole=False):
        """[k, n] or, turned, [n, k] as DequantizeLinear makes it."""
        low, high = (0, 2 ** int(dtype[-1])) if dtype[0] == "u" else (-2 ** int(dtype[-1]) // 2, 2 ** int(dtype[-1]) // 2)
        shared = [(k + block - 1) // block, n] if block else [] if whole else [n]
        order = lambda shape: shape[::-1] if turned else shape
        inputs = [self.integers(dtype, self.rng.integers(low, high, order([k, n]))), self.constant(*order(shared))]
        if zeros:
            inputs.append(self.integers(dtype, self.rng.integers(low, high, order(shared))))
        axis = {"axis": int((block == 0) != turned)}
        return self.node("DequantizeLinear", inputs, **axis, **({"block_size": block} if block else {}))

    def halves(self, kind, k, n, turned=False):
        """The same of 16-bit floats, as Cast makes it."""
        self.n += 1
        values = self.rng.standard_normal([n, k] if turned else [k, n]).astype(HALVES[kind][0])
        values.flat[:3] = 0, -0., ml_dtypes.finfo(values.dtype).smallest_subnormal
        self.weights.append(helper.make_tensor(f"h{self.n}", HALVES[kind][1], values.shape, values.tobytes(), raw=True))
        return self.node("Cast", [f"h{self.n}"], to=TensorProto.FLOAT)

    def model(self, y):
        model = super().model(y)
        model.opset_import[0].version, model.ir_version = 21, 10
        return model


def net(seed, *shape):
    return Quantized(np.random.default_rng(seed), shape)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block,turned", [(0, False), (0, True), (32, False), (48, True)])
def test_forms(dtype, zeros, block, turned, rows):
    n = net(rows, rows, 600)
    b = n.matrix(dtype, 600, 500, block, turned, zeros)
    if turned:
        b = n.node("Transpose", [b], perm=[1, 0])
    y = n.relu(n.node("Add", [n.node("MatMul", ["x", b]), n.constant(500)]))
    check(n, y, {"MatMul": 1})


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("turned", [False, True])
def test_halves(kind, turned, rows):
    n = net(rows, rows, 600)
    b = n.halves(kind, 600, 500, turned)
    if turned:
        b = n.node("Transpose", [b], perm=[1, 0])
    check(n, n.relu(n.node("Add", [n.node("MatMul", ["x", b]), n.constant(500)])), {"MatMul": 1})
    n = net(rows, rows, 600)
    b = n.halves(kind, 600, 500, turned)
    check(n, n.node("Gemm", ["x", b, n.constant(500)], transB=int(turned)), {"MatMul": 1})


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("kind", [*HALVES, "float"])
def test_floats_of_16_bits(kind, rows):
    """Weights trained in 16 bits and exported in FLOAT; a Gemm that stays one has weights of more."""
    n = net(rows, rows, 600)
    w = n.rng.standard_normal([600, 500]).astype(np.float32)
    if kind in HALVES:
        dtype = HALVES[kind][0]
        w.flat[:6] = 0, -0., 65504, ml_dtypes.finfo(dtype).smallest_subnormal, 2e-5, -3e-8
        w = w.astype(dtype).astype(np.float32)
    n.weights.append(numpy_helper.from_array(w, "w"))
    check(n, n.node("Gemm", ["x", "w", n.constant(500)]), {"Gemm" if kind == "float" else "MatMul": 1})


@pytest.mark.parametrize("block,trans_b", [(0, 0), (0, 1), (64, 1), (20, 0)])
def test_gemm(block, trans_b):
    n = net(2, 3, 512)
    b = n.matrix("uint8", 512, 520, block, turned=bool(trans_b))
    check(n, n.node("Gemm", ["x", b, n.constant(520)], transB=trans_b), {"MatMul": 1})


def test_one_scale():
    n = net(3, 2, 4, 512)
    check(n, n.node("MatMul", ["x", n.matrix("int8", 512, 512, whole=True)]), {"MatMul": 1})


def test_packed_rows():
    """What the first product stores for the second one, many rows of a sample."""
    n = net(8, 2, 70, 512)
    y = n.relu(n.node("MatMul", ["x", n.matrix("uint4", 512, 640, 32)]))
    check(n, n.node("MatMul", [y, n.matrix("int8", 640, 512)]), {"MatMul": 2})


def test_small():
    """Few numbers stay near as floats: they are made once."""
    n = net(4, 2, 64)
    check(n, n.node("MatMul", ["x", n.matrix("int4", 64, 96, 32)]), {"MatMul": 1})


def test_scales_of_rows():
    """Not the columns' scales: floats are made once, and the Transpose with them."""
    n = net(5, 2, 512)
    b = n.matrix("int8", 512, 512, turned=True)
    check(n, n.node("MatMul", ["x", b]), {"MatMul": 1})
    n = net(6, 2, 512)
    b = n.node("Transpose", [n.matrix("int8", 512, 512)], perm=[1, 0])
    check(n, n.node("MatMul", ["x", b]), {"MatMul": 1})


def test_read_twice():
    """A matrix that a Gather reads, too: an embedding that is also the last layer."""
    n = net(7, 2, 512)
    b = n.matrix("uint4", 512, 600, 32, turned=True)
    y = n.node("MatMul", ["x", n.node("Transpose", [b], perm=[1, 0])])
    rows = n.node("Gather", [b, n.node("ArgMax", [y], axis=1, keepdims=0)])
    check(n, n.node("MatMul", [rows, n.constant(512, 30)]), {"MatMul": 2, "ArgMax": 1, "Gather": 3, "DequantizeLinear": 1})


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("form", ["float16", "bfloat16", "columns", "rows", "blocks", "whole"])
def test_table(form, rank):
    """Rows of a table, which become floats once they are picked."""
    n = net(9, *[3, 4][:rank], 700)
    i = n.node("ArgMax", ["x"], axis=rank, keepdims=0)
    if form in HALVES:
        steps, table = {"Gather": 1, "Cast": 1}, n.halves(form, 700, 400)
    else:
        forms = {"columns": ("uint8", 0, False), "rows": ("int8", 0, True), "blocks": ("uint4", 32, True), "whole": ("int4", 0, False)}
        dtype, block, turned = forms[form]
        k, columns = (400, 700) if turned else (700, 400)
        steps = {"Gather": 3 if turned else 1, "DequantizeLinear": 1}
        table = n.matrix(dtype, k, columns, block, turned, whole=form == "whole")
    check(n, n.node("Gather", [table, i]), {"ArgMax": 1, **steps})
