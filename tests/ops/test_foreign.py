"""Operators of com.microsoft that ONNX Runtime's optimizer writes into files, against statements in NumPy. The weights
are constant and the batch is free, as in files."""
import math

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nodes as lib
from nodes import Nodes

RNG = np.random.default_rng(3)
F32 = np.float32


def f(*shape):
    return RNG.normal(size=shape).astype(F32)


def foreign(op, inputs, constant=(), outputs=("y",), opset=17, domain="com.microsoft", **attrs):
    """The results of one node; `constant` are the positions of its weights. None is absent."""
    names = ["" if v is None else f"i{k}" for k, v in enumerate(inputs)]
    arrays = {n: np.asarray(v) for n, v in zip(names, inputs) if n}
    weights = {f"i{k}" for k in constant}
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), ["N" if len(a) == 2 else f"N_{n}", *a.shape[1:]] if a.ndim else [])
             for n, a in arrays.items() if n not in weights]
    graph = helper.make_graph([helper.make_node(op, names, outputs, domain=domain, **attrs)], "g", infos,
                              [onnx.ValueInfoProto(name=o) for o in outputs if o],
                              [numpy_helper.from_array(a, n) for n, a in arrays.items() if n in weights])
    n = Nodes(opset)
    n.model = lambda: helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    n.inputs, n.outputs = [(k, a) for k, a in arrays.items() if k not in weights], [o for o in outputs if o]
    return n


def check(want, *args, tolerance=2e-6, **kwargs):
    node = foreign(*args, **kwargs)
    for options in ((), ("--no-optimize",), lib.REFERENCE):
        for got, expected in zip(node.run(*options), want if isinstance(want, list) else [want], strict=True):
            assert got.shape == expected.shape and np.abs(got - expected).max() <= tolerance * max(1, np.abs(expected).max()), (args[0], options)


def erf(x):
    return np.vectorize(math.erf)(x)


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + .044715 * x ** 3))) / 2


def test_gelu():
    x, b = f(2, 5, 8), f(8)
    check(gelu(x), "Gelu", [x])
    check(gelu(x + b), "BiasGelu", [x, b], [1])
    check(gelu_tanh(x), "FastGelu", [x])
    check(gelu_tanh(x + b), "FastGelu", [x, b], [1])
    check(x / (1 + np.exp(-1.702 * x)), "QuickGelu", [x])
    check(x / (1 + np.exp(-1.5 * x)), "QuickGelu", [x], alpha=1.5)


ACTIVATIONS = {"Relu": ([], lambda x: np.maximum(x, 0)), "Tanh": ([], np.tanh), "Sigmoid": ([], lambda x: 1 / (1 + np.exp(-x))),
               "LeakyRelu": ([.3], lambda x: np.where(x < 0, .3 * x, x)), "Clip": ([-.5, .7], lambda x: np.clip(x, -.5, .7)),
               "HardSigmoid": ([.3, .4], lambda x: np.clip(.3 * x + .4, 0, 1))}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("opset", (7, 10, 17))
def test_fused_conv(name, opset):
    params, act = ACTIVATIONS[name]
    x, w, b, z = f(2, 3, 5, 5), f(4, 3, 1, 1), f(4), f(2, 4, 5, 5)
    sums = np.einsum("nchw,mc->nmhw", x, w[:, :, 0, 0]) + b[:, None, None]
    attrs = {"activation": name, "opset": opset} | ({"activation_params": params} if params else {})
    check(act(sums), "FusedConv", [x, w, b], [1, 2], **attrs)
    check(act(sums + z), "FusedConv", [x, w, b, z], [1, 2], **attrs)


def test_fused_gemm():
    a, b, c = f(3, 4), f(5, 4), f(5)
    check(np.maximum(a @ b.T + c, 0), "FusedGemm", [a, b, c], [1, 2], activation="Relu", transB=1)
    check(np.where(a @ b.T < 0, .2, 1) * (a @ b.T), "FusedGemm", [a, b], [1], activation="LeakyRelu", activation_alpha=.2, transB=1)


def test_unknown_activation():
    lib.refuses(foreign("FusedConv", [f(2, 3, 5, 5), f(4, 3, 1, 1)], [1], activation="Cube"), "not supported", "FusedConv")


def test_fused_matmul():
    a, b = f(2, 3, 4, 5), f(2, 3, 5, 6)
    turned, back = lambda v: v.swapaxes(-1, -2), lambda v: np.moveaxis(v, 0, -2)
    for op in ("FusedMatMul", "TransposeMatMul"):
        check(.25 * (a @ b), op, [a, b], alpha=.25)
        check(a @ b, op, [turned(a), b], transA=1)
        check(a @ b, op, [turned(a), turned(b)], transA=1, transB=1)
    c, d = f(4, 2, 3, 5), f(5, 2, 3, 6)
    check(back(c) @ b, "FusedMatMul", [c, b], transBatchA=1)
    check(a @ back(d), "FusedMatMul", [a, d], transBatchB=1)
    check(turned(back(d)) @ b, "FusedMatMul", [d, b], transBatchA=1, transA=1)


def layer_norm(x, gamma, beta, epsilon=1e-12):
    x = x.astype(np.float64)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * gamma + beta


def rms_norm(x, gamma, epsilon=1e-12):
    x = x.astype(np.float64)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * gamma


def test_skip_norm():
    x, skip, gamma, beta, bias = f(2, 5, 8), f(2, 5, 8), f(8), f(8), f(8)
    check(layer_norm(x + skip, gamma, beta), "SkipLayerNormalization", [x, skip, gamma, beta], [2, 3])
    check(layer_norm(x + skip[:1], gamma, 0), "SkipLayerNormalization", [x, skip[:1], gamma], [1, 2])
    check([layer_norm(x + skip + bias, gamma, beta, .1), x + skip + bias], "SkipLayerNormalization", [x, skip, gamma, beta, bias], [2, 3, 4],
          ("y", "", "", "sum"), epsilon=.1)
    check([rms_norm(x + skip + bias, gamma), x + skip + bias], "SkipSimplifiedLayerNormalization", [x, skip, gamma, bias], [2, 3], ("y", "", "", "sum"))
    lib.refuses(foreign("SkipLayerNormalization", [x, skip, gamma], [2], ("y", "mean")), "not supported")


def test_early_norm():
    x, gamma, beta = f(2, 5, 8), f(8), f(8)
    check(layer_norm(x, gamma, beta, 1e-5), "LayerNormalization", [x, gamma, beta], [1, 2], opset=12, domain="", axis=-1)
    check(rms_norm(x, gamma, 1e-6), "SimplifiedLayerNormalization", [x, gamma], [1], domain="", axis=-1, epsilon=1e-6)


@pytest.mark.parametrize("positions", (False, True))
@pytest.mark.parametrize("segments", (False, True))
def test_embedding(positions, segments):
    ids, of_segment = RNG.integers(0, 20, (2, 5)).astype(np.int32), RNG.integers(0, 2, (2, 5)).astype(np.int32)
    at, mask = RNG.integers(0, 9, (2, 5)).astype(np.int32), np.array([[1, 1, 1, 0, 0], [1] * 5], np.int32)
    words, places, parts, gamma, beta = f(20, 8), f(9, 8), f(2, 8), f(8), f(8)
    total = words[ids] + (places[at] if positions else places[:5]) + (parts[of_segment] if segments else 0)
    inputs = [ids, of_segment if segments else None, words, places, parts if segments else None, gamma, beta, mask, at if positions else None]
    check([layer_norm(total, gamma, beta), np.array([3, 5]), total], "EmbedLayerNormalization", inputs, [2, 3, 4, 5, 6], ("y", "n", "sum"))
    inputs[7] = None
    check([layer_norm(total, gamma, beta), np.array([0, 0])], "EmbedLayerNormalization", inputs, [2, 3, 4, 5, 6], ("y", "n"))


# ---- attention ----

BATCH, LENGTH, WIDTH, HEADS = 2, 5, 12, 3


def heads(x):
    return x.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2).astype(np.float64)


def attend(q, k, v, bias=0, causal=False, scale=None):
    """Of [batch, heads, length, size]: what is attended to, side by side."""
    scores = q @ k.swapaxes(-1, -2) * (scale or 1 / math.sqrt(q.shape[-1])) + bias
    if causal:
        scores = np.where(np.arange(k.shape[2]) > np.arange(q.shape[2])[:, None] + k.shape[2] - q.shape[2], -np.inf, scores)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    y = p / p.sum(-1, keepdims=True) @ v
    return y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)


X, W, B = f(BATCH, LENGTH, WIDTH), f(WIDTH, 3 * WIDTH), f(3 * WIDTH)
Q, K, V = (heads(p) for p in np.split(X @ W + B, 3, -1))
KEYS = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], np.int32)
QUERIES = RNG.integers(0, 2, (BATCH, LENGTH, LENGTH)).astype(np.int32) | np.eye(LENGTH, dtype=np.int32)
PAST = f(2, BATCH, HEADS, 4, WIDTH // HEADS)


def attention(inputs, outputs=("y",), **attrs):
    return ["Attention", inputs, [1, 2], outputs], {"num_heads": HEADS, "tolerance": 2e-5, **attrs}


def with_past(k, v):
    return np.concatenate([PAST[0], k], 2), np.concatenate([PAST[1], v], 2)


def test_attention():
    def check_one(want, inputs, **attrs):
        args, kwargs = attention(inputs, **attrs)
        check(want, *args, **kwargs)
    hidden = np.where(KEYS, 0, -10000.)[:, None, None]
    check_one(attend(Q, K, V), [X, W, B])
    check_one(attend(Q, K, V, hidden), [X, W, B, KEYS])
    check_one(attend(Q, K, V, hidden), [X, W, B, np.array([3, 4], np.int32)])
    check_one(attend(Q, K, V, np.where(QUERIES, 0, -10000.)[:, None]), [X, W, B, QUERIES])
    check_one(attend(Q, K, V, hidden, True, .2), [X, W, B, KEYS], unidirectional=1, scale=.2)
    added = f(1, HEADS, LENGTH, LENGTH)
    check_one(attend(Q, K, V, np.where(KEYS, 0, -3.)[:, None, None] + added), [X, W, B, KEYS, None, np.repeat(added, 2, 0)], mask_filter_value=-3.)
    k, v = with_past(K, V)
    check_one([attend(Q, k, v, 0, True), np.stack([k, v])], [X, W, B, None, PAST], outputs=("y", "present"), unidirectional=1)


def test_attention_of_other_widths():
    w, b = f(WIDTH, 2 * WIDTH + 6), f(2 * WIDTH + 6)
    q, k, v = (heads(p) for p in np.split(X @ w + b, [WIDTH, 2 * WIDTH], -1))
    args, kwargs = attention([X, w, b], qkv_hidden_sizes=[WIDTH, WIDTH, 6])
    check(attend(q, k, v), *args, **kwargs)
    args, kwargs = attention([X, w, b], qkv_hidden_sizes=[WIDTH, WIDTH, 7])
    lib.refuses(foreign(*args, **{k: v for k, v in kwargs.items() if k != "tolerance"}), "not supported")


def test_multi_head_attention():
    k, v = f(BATCH, 7, WIDTH), f(BATCH, 7, WIDTH)
    mask, added = np.array([[1] * 5 + [0] * 2, [1] * 7], np.int32), f(BATCH, HEADS, LENGTH, 7)
    attrs = {"num_heads": HEADS, "tolerance": 2e-5}
    hidden = np.where(mask, 0, -10000.)[:, None, None]
    bq, bk, bv = np.split(B, 3)
    check(attend(heads(X), heads(k), heads(v)), "MultiHeadAttention", [X, k, v], **attrs)
    check(attend(heads(X + bq), heads(k + bk), heads(v + bv), hidden), "MultiHeadAttention", [X, k, v, B, mask], [3], **attrs)
    check(attend(heads(X), heads(k), heads(v), hidden + added, scale=.3), "MultiHeadAttention", [X, k, v, None, np.array([5, 7], np.int32), added], scale=.3, **attrs)
    pk, pv = with_past(heads(X), heads(X))
    check([attend(heads(X), pk, pv, 0, True), pk, pv], "MultiHeadAttention", [X, X, X, None, None, None, *PAST], outputs=("y", "k", "v"), unidirectional=1, **attrs)


def test_multi_head_attention_of_parts_in_one():
    attrs = {"num_heads": HEADS, "tolerance": 2e-5}
    def side_by_side(*parts):
        return np.stack([p.reshape(*p.shape[:2], HEADS, -1) for p in parts], 3)
    k, v = f(BATCH, 7, WIDTH), f(BATCH, 7, WIDTH)
    bq, bk, bv = np.split(B, 3)
    hidden = np.where(KEYS, 0, -10000.)[:, None, None]
    q, k2, v2 = X, X[::-1].copy(), 2 * X
    check(attend(heads(q), heads(k2), heads(v2), hidden), "MultiHeadAttention", [side_by_side(q, k2, v2), None, None, None, KEYS], **attrs)
    check(attend(heads(q + bq), heads(k2 + bk), heads(v2 + bv)), "MultiHeadAttention", [side_by_side(q, k2, v2), None, None, B], [3], **attrs)
    check(attend(heads(q), heads(k), heads(v)), "MultiHeadAttention", [q, side_by_side(k, v)], **attrs)
    check(attend(heads(q + bq), heads(k + bk), heads(v + bv)), "MultiHeadAttention", [q, side_by_side(k, v), None, B], [3], **attrs)
    check(attend(heads(q), heads(k), heads(v)), "MultiHeadAttention", [q, heads(k).astype(F32), heads(v).astype(F32)], **attrs)
    lib.refuses(foreign("MultiHeadAttention", [q, heads(k).astype(F32), heads(v).astype(F32), B], [3], num_heads=HEADS), "not supported")


# ---- keys that are turned, and shared by queries ----

COS, SIN = f(30, 4), f(30, 4)


def turned(x, at, interleaved=False, cos=COS, sin=SIN):
    """x [batch, heads, length, size] at positions [batch, length]."""
    c, s, n = cos[at][:, None], sin[at][:, None], 2 * cos.shape[1]
    a, b = (x[..., :n:2], x[..., 1:n:2]) if interleaved else np.split(x[..., :n], 2, -1)
    y = [a * c - b * s, a * s + b * c]
    y = np.stack(y, -1).reshape(*a.shape[:-1], n) if interleaved else np.concatenate(y, -1)
    return np.concatenate([y, x[..., n:]], -1)


@pytest.mark.parametrize("interleaved", (0, 1))
def test_rotary_embedding(interleaved):
    x, at = f(2, 3, 5, 8), RNG.integers(0, 30, (2, 5))
    flat = x.swapaxes(1, 2).reshape(2, 5, 24)
    attrs = {"interleaved": interleaved}
    back = lambda y: y.swapaxes(1, 2).reshape(2, 5, 24)
    check(turned(x, at, interleaved), "RotaryEmbedding", [x, at, COS, SIN], [2, 3], **attrs)
    check(back(turned(x, at, interleaved)), "RotaryEmbedding", [flat, at, COS, SIN], [2, 3], **attrs)
    behind = 7 + np.tile(np.arange(5), (2, 1))
    check(turned(x, behind, interleaved), "RotaryEmbedding", [x, np.array([7]), COS, SIN], [1, 2, 3], **attrs)
    few = COS[:, :2].copy(), SIN[:, :2].copy()
    check(back(turned(x, at, interleaved, *few)), "RotaryEmbedding", [flat, at, *few], [2, 3], num_heads=3, rotary_embedding_dim=4, **attrs)
    lib.refuses(foreign("RotaryEmbedding", [flat, at, COS, SIN], [2, 3], is_packed_batching=1), "not supported")


def group_query(q, k, v, past, lengths, total, rotary=None, bias=0, window=None, softcap=0, scale=None):
    """Each sample by itself; keys and values behind those that it has are not defined."""
    (batch, length), n, size = q.shape[:2], q.shape[2] // k.shape[2], 8
    q, k, v = (x.reshape(batch, length, -1, size).swapaxes(1, 2).astype(np.float64) for x in (q, k, v))
    before = np.zeros(batch, int) if length == total else np.asarray(lengths) - length
    at = before[:, None] + np.arange(length)
    if rotary is not None:
        q, k = turned(q, at, rotary), turned(k, at, rotary)
    y, keys, values = np.zeros_like(q), [], []
    for b in range(batch):
        kb, vb = (np.concatenate([p[b, :, :before[b]], x[b]], 1) for p, x in zip(past, (k, v)))
        scores = q[b] @ kb.repeat(n, 0).swapaxes(-1, -2) * (scale or 1 / math.sqrt(size))
        if softcap:
            scores = softcap * np.tanh(scores / softcap)
        away = at[b][:, None] - np.arange(kb.shape[1])
        scores = np.where((away < 0) | (away >= (window or 1 << 30)), -np.inf, scores + (bias[0, :, :, :kb.shape[1]] if np.ndim(bias) else 0))
        p = np.exp(scores - scores.max(-1, keepdims=True))
        y[b] = p / p.sum(-1, keepdims=True) @ vb.repeat(n, 0)
        keys.append(kb), values.append(vb)
    return y.swapaxes(1, 2).reshape(batch, length, -1), keys, values


def check_group_query(batch, length, n_past, lengths, total, one=False, rotary=None, bias=None, buffer=None, **more):
    q, k, v = f(batch, length, 32), f(batch, length, 16), f(batch, length, 16)
    past = f(2, batch, 2, n_past, 8)
    y, keys, values = group_query(q, k, v, past, lengths, total, rotary, bias if bias is not None else 0, **more)
    attrs = {"num_heads": 4, "kv_num_heads": 2, "scale": more.get("scale"), "softcap": more.get("softcap"), "local_window_size": more.get("window")}
    if rotary is not None:
        attrs |= {"do_rotary": 1, "rotary_interleaved": rotary}
    node = foreign("GroupQueryAttention",
                   [*([np.concatenate([q, k, v], 2), None, None] if one else [q, k, v]), *(past if n_past or buffer else [None, None]),
                    np.array(lengths, np.int32) - 1, np.array([total], np.int32), COS if rotary is not None else None, SIN if rotary is not None else None,
                    None, bias], [7, 8], ("y", "k", "v"), **{n: a for n, a in attrs.items() if a is not None})
    for options in ((), ("--no-optimize",), lib.REFERENCE):
        got = node.run(*options)
        for b, seen in enumerate(lengths):
            rows = min(length, seen)
            for have, want in ((got[0][b, :rows], y[b, :rows]), (got[1][b, :, :seen], keys[b][:, :seen]), (got[2][b, :, :seen], values[b][:, :seen])):
                assert have.shape == want.shape and np.abs(have - want).max() <= 2e-5, (b, options)
        assert got[1].shape[2] == max(n_past, total)


@pytest.mark.parametrize("one", (False, True))
@pytest.mark.parametrize("rotary", (None, 0, 1))
def test_group_query_attention(one, rotary):
    check_group_query(2, 4, 0, [4, 4], 4, one, rotary)
    check_group_query(2, 4, 0, [4, 2], 4, one, rotary)
    check_group_query(1, 3, 5, [8], 8, one, rotary, scale=.3)
    check_group_query(2, 1, 5, [6, 4], 6, one, rotary)
    check_group_query(2, 1, 12, [6, 4], 6, one, rotary)
    check_group_query(2, 4, 9, [4, 2], 4, one, rotary)


def test_group_query_attention_of_few_keys():
    check_group_query(1, 5, 4, [9], 9, rotary=0, window=3)
    check_group_query(2, 5, 0, [5, 5], 5, window=2)
    check_group_query(2, 1, 7, [8, 5], 8, softcap=2.)
    check_group_query(1, 3, 2, [5], 5, bias=f(1, 4, 3, 5))


def test_group_query_attention_of_other_kinds():
    q, k = f(2, 4, 32), f(2, 4, 16)
    inputs = [q, k, k, None, None, np.array([3, 3], np.int32), np.array([4], np.int32)]
    for wrong in ({"smooth_softmax": 1}, {"qk_output": 1}, {"num_heads": 0}, {"kv_num_heads": 8}, {"do_rotary": 1}, {"num_heads": 5}):
        lib.refuses(foreign("GroupQueryAttention", inputs, **{"num_heads": 4, "kv_num_heads": 2} | wrong), "not supported")


@pytest.mark.parametrize("columns", ((), (3 * WIDTH,)))
def test_quantized_attention(columns):
    x, w = RNG.integers(0, 255, X.shape).astype(np.uint8), RNG.integers(-127, 127, W.shape).astype(np.int8)
    scale, zero = RNG.uniform(.01, .02, columns).astype(F32), RNG.integers(-3, 3, columns).astype(np.int8)
    sums = (x.astype(float) - 118) * .02 @ ((w.astype(float) - zero) * scale) + B
    q, k, v = (heads(p) for p in np.split(sums, 3, -1))
    check(attend(q, k, v, np.where(KEYS, 0, -10000.)[:, None, None]), "QAttention", [x, w, B, F32(.02), scale, KEYS, np.uint8(118), zero],
          [1, 2, 3, 4, 6, 7], num_heads=HEADS, tolerance=1e-4)


# ---- weights of a few bits ----

def packed(q, bits):
    """Rows of numbers as whole bytes, the first in the low bits."""
    per = 8 // bits
    q = np.pad(q, ((0, 0), (0, -q.shape[1] % per)))
    return sum(q[:, i::per] << (bits * i) for i in range(per)).astype(np.uint8)


@pytest.mark.parametrize("bits", (2, 4, 8))
@pytest.mark.parametrize("k, block", ((64, 32), (40, 16), (96, 32)))
def test_packed_weights(bits, k, block):
    n, blocks = 6, -(-k // block)
    q, z, s = RNG.integers(0, 1 << bits, (n, blocks * block)), RNG.integers(0, 1 << bits, (n, blocks)), RNG.uniform(.01, .05, (n, blocks)).astype(F32)
    def weights(zero):
        return ((q - np.repeat(zero, block, 1)) * np.repeat(s, block, 1))[:, :k].T
    x, c, b = f(2, 3, k), f(n), packed(q, bits).reshape(n, blocks, -1)
    attrs = {"K": k, "N": n, "bits": bits, "block_size": block, "tolerance": 1e-5}
    check(x @ weights(z) + c, "MatMulNBits", [x, b, s.ravel(), packed(z, bits).ravel(), None, c], [1, 2, 3, 5], **attrs)
    check(x @ weights(np.full_like(z, 1 << bits - 1)), "MatMulNBits", [x, b, s.ravel()], [1, 2], **attrs)


@pytest.mark.parametrize("zeros", (False, True))
@pytest.mark.parametrize("bits, rows, k, block", ((2, 9, 48, 16), (4, 9, 48, 16), (4, 3000, 96, 32), (8, 9, 40, 16)))
def test_packed_tables(bits, rows, k, block, zeros):
    """Rows of a table in blocks, the last of which may be less; without zero points these are the middle."""
    blocks = -(-k // block)
    q, z, s = RNG.integers(0, 1 << bits, (rows, k)), RNG.integers(0, 1 << bits, (rows, blocks)), RNG.uniform(.01, .05, (rows, blocks)).astype(F32)
    i = RNG.integers(0, rows, (2, 5))
    zero = z if zeros else np.full_like(z, 1 << bits - 1)
    table = (q - np.repeat(zero, block, 1)[:, :k]).astype(F32) * np.repeat(s, block, 1)[:, :k]
    inputs = [packed(q, bits), i, s] + ([packed(z, bits)] if zeros else [])
    check(table[i], "GatherBlockQuantized", inputs, [0, 2, 3][:len(inputs) - 1], bits=bits, block_size=block)


def test_packed_tables_of_int4():
    q, s, i = RNG.integers(-8, 8, (9, 48)), RNG.uniform(.01, .05, (9, 3)).astype(F32), np.int64([[3, -1]])
    table = q.astype(F32) * np.repeat(s, 16, 1)
    check(table[i], "GatherBlockQuantized", [q.astype(ml_dtypes.int4), i, s], [0, 2], block_size=16)
    columns = np.ascontiguousarray(q.T).astype(ml_dtypes.int4)
    check(table.T[:, i], "GatherBlockQuantized", [columns, i, np.ascontiguousarray(s.T)], [0, 2], block_size=16, quantize_axis=0, gather_axis=1)
    for wrong in ([q.astype(np.uint8), i, s, np.zeros((9, 1), np.uint8)], [q.astype(np.uint8), i, s[0]]):
        lib.refuses(foreign("GatherBlockQuantized", wrong, [0, 2, 3][:len(wrong) - 1], block_size=16), "not supported")
    lib.refuses(foreign("GatherBlockQuantized", [q.astype(np.uint8), i, s], [0, 2], block_size=16, bits=3), "not supported")


@pytest.mark.parametrize("half", (np.float16, ml_dtypes.bfloat16))
@pytest.mark.parametrize("k, n, block", ((64, 6, 32), (600, 500, 32)))
def test_packed_weights_of_halves(half, k, n, block):
    """The product is one of floats, and its result is rounded."""
    blocks = -(-k // block)
    q, z = RNG.integers(0, 16, (n, blocks * block)), RNG.integers(0, 16, (n, blocks))
    x, c, s, zf = (a.astype(half) for a in (f(2, 3, k), f(n), RNG.uniform(.01, .05, (n, blocks)), 3 * f(n, blocks)))
    def result(zero):
        w = (q - np.repeat(zero.astype(F32), block, 1)) * np.repeat(s.astype(F32), block, 1)
        return (x.astype(F32) @ w[:, :k].T + c.astype(F32)).astype(half)
    attrs = {"K": k, "N": n, "bits": 4, "block_size": block, "tolerance": 1e-2 if half != np.float16 else 1e-3}
    b = packed(q, 4).reshape(n, blocks, -1)
    check(result(z), "MatMulNBits", [x, b, s.ravel(), packed(z, 4).ravel(), None, c], [1, 2, 3, 5], **attrs)
    check(result(zf), "MatMulNBits", [x, b, s.ravel(), zf.ravel(), None, c], [1, 2, 3, 5], **attrs)


@pytest.mark.parametrize("bits", (2, 4, 8))
@pytest.mark.parametrize("k, block", ((64, 32), (40, 16)))
def test_packed_weights_of_sorted_columns(bits, k, block):
    """Columns belong to the blocks that an index says; zero points may be floats."""
    n, blocks = 6, -(-k // block)
    q, z, s = RNG.integers(0, 1 << bits, (n, blocks * block)), RNG.integers(0, 1 << bits, (n, blocks)), RNG.uniform(.01, .05, (n, blocks)).astype(F32)
    x, b, zf, own = f(2, 3, k), packed(q, bits).reshape(n, blocks, -1), 3 * f(n, blocks), (np.arange(k) // block).astype(np.int32)
    attrs = {"K": k, "N": n, "bits": bits, "block_size": block, "tolerance": 1e-5}
    for groups in (own, RNG.permutation(own)):
        def weights(zero):
            return ((q[:, :k] - zero[:, groups]) * s[:, groups]).T
        check(x @ weights(z), "MatMulNBits", [x, b, s.ravel(), packed(z, bits).ravel(), groups], [1, 2, 3, 4], **attrs)
        check(x @ weights(zf), "MatMulNBits", [x, b, s.ravel(), zf.ravel(), groups], [1, 2, 3, 4], **attrs)
    check(x @ weights(zf), "MatMulNBits", [x, b, s.ravel(), zf.ravel(), groups], [1, 2, 3, 4], **attrs)
    uneven = np.minimum(own, blocks - 2).astype(np.int32)
    node = foreign("MatMulNBits", [x, b, s.ravel(), None, uneven], [1, 2, 4], **{a: v for a, v in attrs.items() if a != "tolerance"})
    lib.refuses(node, "not supported")


def test_packed_weights_of_another_size():
    b, s = np.zeros((6, 2, 16), np.uint8), np.ones(12, F32)
    for wrong in ({"K": 65}, {"N": 5}, {"block_size": 16}, {"bits": 3}, {"K": 1 << 62}, {"N": -1}):
        attrs = {"K": 64, "N": 6, "bits": 4, "block_size": 32} | wrong
        lib.refuses(foreign("MatMulNBits", [f(2, 64), b, s], [1, 2], **attrs), "not supported")


@pytest.mark.parametrize("opset", [12, 17, 18])
@pytest.mark.parametrize("dtype", [F32, np.float64])
def test_distances(opset, dtype):
    a, b = f(6, 5).astype(dtype), f(9, 5).astype(dtype)
    want = ((a[:, None] - b) ** 2).sum(-1)
    check(want, "CDist", [a, b], [1], opset=opset)
    check(np.sqrt(want), "CDist", [a, b], opset=opset, metric="euclidean")


def test_earlier_than_onnx():
    x = f(3, 4)
    check(np.tril(x), "Trilu", [x], upper=0)
    check(x[[2, 0]], "GatherND", [x, np.array([[2], [0]])])
    check(np.arange(1, 6, 2, F32), "Range", [F32(1), F32(6), F32(2)])


def test_unique():
    values, first, where, n = np.unique(x := np.array([3, 1, 3, 2, 1, 5], F32), True, True, True)
    order = np.argsort(first)
    check([values[order], np.argsort(order)[where], n[order]], "Unique", [x], outputs=("y", "where", "n"))
    check([values[order], n[order]], "Unique", [x], outputs=("y", "", "n"))


def test_expand_dims():
    x = f(2, 3)
    for axis in range(-3, 3):
        check(np.expand_dims(x, axis), "ExpandDims", [x, np.int32(axis)], [1])
    lib.refuses(foreign("ExpandDims", [x, np.int32(0)]), "not supported", "ExpandDims")


def test_inverse():
    for shape in (1, 1), (7, 7), (2, 3, 5, 5):
        x = f(*shape) + 2 * np.eye(shape[-1], dtype=F32)
        check(np.linalg.inv(x.astype(float)), "Inverse", [x])
    check(np.float64([[0, .5], [1, 0]]), "Inverse", [F32([[0, 1], [2, 0]])])
    assert not np.isfinite(foreign("Inverse", [np.ones((2, 2), F32)]).run()[0]).all()
    lib.refuses(foreign("Inverse", [f(2, 3)]), "no square")


def test_inputs_that_are_missing():
    image = np.ones((2, 4, 4, 3), np.uint8)
    lib.refuses(foreign("QLinearConv", [image], channels_last=1), "not supported")
    lib.refuses(foreign("SkipLayerNormalization", [f(2, 3), None, f(3)], [2]), "not supported")
    scale, zero = F32(.1), np.uint8(3)
    lib.refuses(foreign("QLinearConcat", [scale, zero, image, scale, zero, None, scale, zero], axis=1), "not supported")
    lib.refuses(foreign("QLinearConcat", [scale, zero, image, scale, zero, image, None, zero], axis=1), "not supported")
    lib.refuses(foreign("Attention", [X], num_heads=HEADS), "not supported")
    assert (foreign("NhwcMaxPool", [image, image, image], kernel_shape=[2, 2]).run()[0] == 1).all()


@pytest.mark.parametrize("opset", [6, 8, 12])
def test_experimental(opset):
    x, bias = f(2, 3, 9, 8), f(3)
    for want, op, attrs in [
            (x * .5 + bias[:, None, None], "ImageScaler", {"scale": .5, "bias": bias}),
            (2 * x - 1, "Affine", {"alpha": 2., "beta": -1.}),
            (3 * np.tanh(x / 2), "ScaledTanh", {"alpha": 3., "beta": .5}),
            (np.log1p(np.exp(2 * x)) / 4, "ParametricSoftplus", {"alpha": .25, "beta": 2.}),
            (np.where(x > 1, x, 0), "ThresholdedRelu", {}),
            (x[:, :, 2:-4, 1:-3], "Crop", {"border": [1, 2, 3, 4]}),
            (x[:, :, 2:7, 1:], "Crop", {"border": [1, 2, 0, 0], "scale": [5, 7]})]:
        check(want, op, [x], domain="", opset=opset, **attrs)
