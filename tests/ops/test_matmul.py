"""MatMul, Gemm, their quantized forms and Einsum against NumPy; float32 by kernels, the same bits in any batch and on any ISA."""
import itertools
import os

import numpy as np
import pytest

from nodes import Nodes, dtypes_of, is_float, refuses, samples, versions_of

RNG = np.random.default_rng(11)
F32 = np.dtype(np.float32)
SHAPES = [((3, 4), (4, 5)), ((1, 7), (7, 33)), ((70, 65), (65, 49)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)),
          ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((5, 1, 3, 4), (2, 4, 6)), ((3, 4), (2, 4, 5)),
          ((2, 1, 3, 4), (1, 3, 4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)),
          ((300, 8, 9), (300, 9, 3))]


def product(a, b):
    """In double, or modulo the width of an integer type."""
    if is_float(a.dtype):
        return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    return np.matmul(a, b)


@pytest.mark.parametrize("version", versions_of("MatMul"))
def test_matmul(version):
    nodes = Nodes(version)
    for dtype, (sa, sb) in itertools.product(dtypes_of("MatMul", version), SHAPES):
        a, b = samples(dtype, sa, RNG, -4, 4), samples(dtype, sb, RNG, -4, 4)
        nodes.add("MatMul", [a, b], [product(a, b)])
    nodes.check(ulps=4, atol=2e-4)


@pytest.mark.parametrize("version", versions_of("Gemm"))
def test_gemm(version):
    nodes = Nodes(version)
    m, n, k = 5, 33, 7
    for dtype in dtypes_of("Gemm", version):
        for ta, tb, c_shape in itertools.product((0, 1), (0, 1), [(m, n), (n,), (1, n), (m, 1), (1,), (), None]):
            if c_shape is None and version < 11:
                continue
            a, b = samples(dtype, (k, m) if ta else (m, k), RNG, -3, 3), samples(dtype, (n, k) if tb else (k, n), RNG, -3, 3)
            c = None if c_shape is None else samples(dtype, c_shape, RNG, -9, 9)
            factors = (1., 1.), (.5, 1.), (1., -.25), (2., 0.)
            for alpha, beta in factors if dtype == F32 else factors[:3:2] if is_float(dtype) else factors[:1]:
                y = product(a.T if ta else a, b.T if tb else b).astype(np.float64) if not is_float(dtype) else \
                    np.matmul((a.T if ta else a).astype(np.float64), (b.T if tb else b).astype(np.float64))
                y = alpha * y + (0 if c is None else beta * c.astype(np.float64))
                attrs = {"transA": ta, "transB": tb, "alpha": alpha, "beta": beta}
                if version < 7:
                    attrs["broadcast"] = int(c_shape != (m, n))
                nodes.add("Gemm", [a, b, c], [y.astype(dtype)], **attrs)
    nodes.check(ulps=4, atol=5e-5)


def test_quantized_products():
    nodes = Nodes(10)
    for ta, tb in itertools.product((np.uint8, np.int8), repeat=2):
        a, b = samples(np.dtype(ta), (2, 3, 40), RNG, -128, 255), samples(np.dtype(tb), (40, 6), RNG, -128, 255)
        za, zb = ta(5), samples(np.dtype(tb), (6,), RNG, 0, 20)
        wide = np.matmul(a.astype(np.int32) - int(za), b.astype(np.int32) - zb.astype(np.int32))
        nodes.add("MatMulInteger", [a, b, za, zb], [wide])
        nodes.add("MatMulInteger", [a, b], [np.matmul(a.astype(np.int32), b.astype(np.int32))])
        sa, sb, sy = np.float32(.02), RNG.uniform(.01, .05, 6).astype(F32), np.float32(1.7)
        y = np.clip(np.rint(wide * (float(sa) * sb.astype(np.float64) / float(sy))) + 3, *(np.iinfo(ta).min, np.iinfo(ta).max))
        nodes.add("QLinearMatMul", [a, sa, za, b, sb, zb, sy, ta(3)], [y.astype(ta)])
    a, b = samples(np.dtype(np.int8), (3, 4), RNG, -128, 127), samples(np.dtype(np.int8), (4, 2), RNG, -128, 127)
    by_row = np.array([1, -2, 3], np.int8)
    nodes.add("MatMulInteger", [a, b, by_row], [np.matmul(a.astype(np.int32) - by_row[:, None], b.astype(np.int32))])
    nodes.check()


EQUATIONS = [("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk", (3, 4), (4, 5)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
             ("bhid,bhjd->bhij", (2, 3, 4, 8), (2, 3, 5, 8)), ("bhij,bhjd->bihd", (2, 3, 4, 5), (2, 3, 5, 8)),
             ("...ij,...jk->...ik", (2, 1, 3, 4), (6, 4, 5)), ("ii->i", (4, 4)), ("ii", (4, 4)), ("ij->ji", (3, 4)),
             ("ij->", (3, 4)), ("i,j->ij", (3,), (4,)), ("i,i->", (5,), (5,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
             ("iij,jk->ik", (3, 3, 4), (4, 2)), ("bi,bj,bk->bijk", (2, 2), (2, 3), (2, 4)), ("ab,AB->aBbA", (2, 3), (4, 5)),
             ("b...->...", (2, 3, 4)), ("...a,...a->...", (3, 1, 4), (5, 4)), (" i j , j k -> k i ", (3, 4), (4, 5)),
             ("bchw,ij->bchij", (2, 3, 4, 4), (5, 6)), ("i,->i", (3,), ()), ("abc,cd->adb", (2, 70, 9), (9, 40)),
             # What kernels take in parts: sums of several dimensions, results that end in a shared one, diagonals, three operands
             ("nkctv,kvw->nctw", (2, 3, 4, 5, 6), (3, 6, 6)), ("bct,nct->bnt", (2, 3, 20), (4, 3, 20)), ("bct,nt->bcnt", (2, 3, 4), (5, 4)),
             ("iji->j", (3, 4, 3)), ("iji->ji", (3, 4, 3)), ("abc->ca", (2, 3, 4)), ("abcb,cd->da", (2, 3, 4, 3), (4, 5)),
             ("a...,b...->...ab", (2, 3, 4), (5, 1, 4)), ("abx,bcy,cd->ad", (2, 3, 2), (3, 4, 2), (4, 5)), ("ij,kl->", (2, 3), (4, 5)),
             ("bij,jbi->b", (2, 3, 4), (4, 1, 3)), ("bij,bij->", (2, 3, 40), (2, 3, 40)),
             ("cts,cs->ct", (3, 40, 9), (3, 9)), ("tsc,bsc->btc", (20, 9, 5), (1, 9, 5)), ("ba,cb->ac", (1, 4), (5, 3)), ("ab,ba->ba", (3, 4), (4, 3)), ("...ij,...jk,...kl", (2, 1, 3, 4), (5, 4, 2), (1, 5, 2, 3))]


@pytest.mark.parametrize("version", versions_of("Einsum"))
def test_einsum(version):
    nodes = Nodes(version)
    for dtype, (equation, *shapes) in itertools.product(dtypes_of("Einsum", version), EQUATIONS):
        v = [samples(dtype, s, RNG, -3, 3) for s in shapes]
        wide = [x.astype(np.float64 if is_float(dtype) else np.int64) for x in v]
        y = np.einsum(equation.replace(" ", ""), *wide)
        nodes.add("Einsum", v, [np.asarray(y).astype(dtype)], equation=equation)
    nodes.check(ulps=4, atol=5e-5)


def test_einsum_refusals():
    x = np.zeros((2, 3), F32)
    for equation in "ij->ik", "ij->ii", "ijk->i", "i.j->i", "ij,jk->ik", "ij->i->j", "i1->i", "......->...":
        refuses(Nodes(12).add("Einsum", [x], [x], equation=equation), "equation")
    refuses(Nodes(12).add("Einsum", [x, np.zeros((4, 2), F32)], [x], equation="ij,jk->ik"), "broadcast")
    refuses(Nodes(13).add("MatMul", [x, x], [x]), "3")


def run_masked(nodes, isa):
    before = os.environ.get("INFOLD_CPU")
    os.environ["INFOLD_CPU"] = isa
    try:
        return nodes.run()
    finally:
        os.environ.pop("INFOLD_CPU")
        if before is not None:
            os.environ["INFOLD_CPU"] = before


def test_same_bits():
    """Any ISA; any batch: rows of A are samples."""
    nodes = Nodes(13)
    a, b, c = samples(F32, (37, 300), RNG), samples(F32, (300, 70), RNG), samples(F32, (70,), RNG)
    batch, right = samples(F32, (6, 20, 33), RNG), samples(F32, (6, 33, 17), RNG)
    whole = [np.zeros((37, 70), F32)] * 2 + [np.zeros((6, 20, 17), F32)]
    nodes.add("MatMul", [a, b], whole[:1]).add("Gemm", [a, b, c], whole[1:2], alpha=.3, beta=.7)
    nodes.add("MatMul", [batch, right], whole[2:])
    by_isa = [run_masked(nodes, isa) for isa in ("ref", "avx2", "avx512")]
    for other in by_isa[1:]:
        assert all((x == y).all() for x, y in zip(by_isa[0], other))
    for i in 0, 17, 36:
        one = Nodes(13).add("MatMul", [a[i:i + 1], b], whole[:1]).add("Gemm", [a[i:i + 1], b, c], whole[1:2], alpha=.3, beta=.7)
        for got, all_rows in zip(one.run(), by_isa[0]):
            assert (got[0] == all_rows[i]).all()
    one = Nodes(13).add("MatMul", [batch[2:3], right[2:3]], whole[2:]).run()[0]
    assert (one[0] == by_isa[0][2][2]).all()
