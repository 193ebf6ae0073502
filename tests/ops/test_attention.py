"""Attention by kernels against its reference, over its options; the same bits on any ISA and in any batch. (The official
cases hold the reference to ONNX.)"""
import os

import numpy as np

from nodes import Nodes, refuses, samples

RNG = np.random.default_rng(31)
F32 = np.dtype(np.float32)


def masked(nodes, **env):
    os.environ.update(env)
    try:
        return nodes.run()
    finally:
        for k in env:
            del os.environ[k]


def cases():
    """Inputs, attributes and how many outputs."""
    for q_len, kv_len, heads, kv_heads in (5, 7, 4, 2), (70, 130, 2, 2), (1, 33, 6, 3), (1, 40, 7, 1):
        q, k, v = (samples(F32, s, RNG, -2, 2) for s in
                   ((2, heads, q_len, 16), (2, kv_heads, kv_len, 16), (2, kv_heads, kv_len, 24)))
        past_k, past_v = samples(F32, (2, kv_heads, 9, 16), RNG), samples(F32, (2, kv_heads, 9, 24), RNG)
        mask = RNG.uniform(-1, 1, (2, 1, q_len, kv_len)).astype(F32)
        mask[mask > .5] = -np.inf
        lens = np.array([kv_len, kv_len // 2])
        ends = np.arange(kv_len) < np.array([kv_len, kv_len // 3])[:, None]
        padded = np.stack([ends[1, ::-1], ends[1]])[:, None, None]
        late = np.where(np.tri(q_len, kv_len, kv_len - q_len) > 0, 0, -3e38).astype(F32)
        late[q_len // 2] = -3e38
        late = np.stack([late, late])[:, None]
        for m in padded, np.where(padded, .5, -np.inf).astype(F32), late, late[..., :1], padded & (late > -1):
            for attrs in {}, {"is_causal": 1}, {"left_window_size": 20}:
                yield [q, k, v, m], attrs, 1
        for attrs in {}, {"is_causal": 1}, {"softcap": 3.}, {"left_window_size": 2}, {"right_window_size": 1, "left_window_size": 0}, \
                {"scale": .1, "is_causal": 1, "softcap": 5.}:
            yield [q, k, v], attrs, 1
            yield [q, k, v, mask], attrs, 1
            yield [q, k, v, mask > 0], attrs, 1
            yield [q, k, v, None, past_k, past_v], attrs, 3
            yield [q, k, v, None, None, None, lens], attrs, 1
            for mode in range(4):
                yield [q, k, v, mask[:, :, :1, :3]], {**attrs, "qk_matmul_output_mode": mode}, 4
        flat = [t.transpose(0, 2, 1, 3).reshape(2, t.shape[2], -1) for t in (q, k, v)]
        for extra, n in ([], 1), ([None, past_k, past_v], 3), ([None, past_k, past_v], 1):
            yield flat + extra, {"q_num_heads": heads, "kv_num_heads": kv_heads, "is_causal": 1}, n


def model(chosen):
    nodes = Nodes(25)
    for inputs, attrs, n in chosen:
        nodes.add("Attention", inputs, [np.zeros(0)] * n, **attrs)
    return nodes


def test_kernels_agree_with_the_reference():
    nodes = model(cases())
    for (op, attrs, inputs, _), got, expected in zip(nodes.expected, nodes.run(), nodes.run("--backend", "ref")):
        assert got.shape == expected.shape and np.allclose(got, expected, 1e-4, 1e-5, equal_nan=True), attrs


def test_same_bits():
    chosen = list(cases())[::3]
    by_isa = [masked(model(chosen), INFOLD_CPU=isa) for isa in ("ref", "avx2", "avx512")]
    for other in by_isa[1:]:
        assert all((a == b).all() for a, b in zip(by_isa[0], other))
    alone = model([([None if t is None else t[1:2] for t in inputs], attrs, n) for inputs, attrs, n in chosen]).run()
    assert all((a[0] == b[1]).all() for a, b in zip(alone, by_isa[0]))


def test_refusals():
    q, k = np.zeros((1, 4, 2, 8), F32), np.zeros((1, 3, 2, 8), F32)
    refuses(Nodes(24).add("Attention", [q, k, k], [q]), "heads")
    refuses(Nodes(24).add("Attention", [q, q, k], [q]), "fit")
    refuses(Nodes(24).add("Attention", [q, q, q, np.zeros((5, 1), F32)], [q]), "broadcast")
    for n in -1, 3:
        refuses(Nodes(24).add("Attention", [q, q, q, None, None, None, np.array([n])], [q]), "nonpad_kv_seqlen")
    refuses(Nodes(24).add("Attention", [q, q, q, None, q], [q]), "past")
    flat = np.zeros((1, 2, 30), F32)
    refuses(Nodes(24).add("Attention", [flat] * 3, [flat], q_num_heads=4, kv_num_heads=4), "q_num_heads")
