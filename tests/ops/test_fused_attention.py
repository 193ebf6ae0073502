"""Attention written out, softmax(Q Kᵀ + mask) V, as sessions run it: one operator, whatever way heads are split and scores
scaled. Against the reference evaluation, and the same bits for every ISA and number of threads."""
import numpy as np
import pytest
from onnx import helper, numpy_helper

from test_products import Mlp, check

HEADS, SIZE = 3, 10
WIDTH = HEADS * SIZE


class Net(Mlp):
    def ints(self, *v):
        self.n += 1
        self.weights.append(numpy_helper.from_array(np.array(v, np.int64), f"i{self.n}"))
        return f"i{self.n}"

    def scalar(self, v):
        self.n += 1
        self.weights.append(numpy_helper.from_array(np.array(v, np.int64), f"i{self.n}"))
        return f"i{self.n}"

    def heads(self, x, perm=(0, 2, 1, 3), width=SIZE):
        """[batch, rows, heads * width] split, transposed."""
        x = self.node("Reshape", [x, self.ints(0, 0, -1, width)])
        return self.node("Transpose", [x], perm=perm)

    def product(self, x, n=WIDTH, k=WIDTH):
        return self.node("MatMul", [x, self.constant(k, n)])

    def softmax(self, x):
        return self.node("Softmax", [x], axis=-1)

    def join(self, x, width=WIDTH):
        x = self.node("Reshape", [self.node("Transpose", [x], perm=[0, 2, 1, 3]), self.ints(0, 0, width)])
        return self.product(x, k=width)


def net(rows=23):
    return Net(np.random.default_rng(rows), [2, rows, WIDTH])


@pytest.mark.parametrize("rows", [1, 5, 70, 300])
def test_three_products(rows):
    n = net(rows)
    q, k, v = n.heads(n.product("x")), n.heads(n.product("x"), (0, 2, 3, 1)), n.heads(n.product("x"))
    p = n.softmax(n.node("Div", [n.node("MatMul", [q, k]), n.number(SIZE ** .5)]))
    check(n, n.join(n.node("MatMul", [p, v])), {"MatMul": 2, "Split": 1, "Attention": 1})


def test_mask():
    n = net()
    q, k, v = n.heads(n.product("x")), n.heads(n.product("x"), (0, 2, 3, 1)), n.heads(n.product("x"))
    mask = np.where(np.random.default_rng(0).random((2, 1, 23, 23)) < .3, -3e38, 0).astype(np.float32)
    n.weights.append(numpy_helper.from_array(mask, "mask"))
    scores = n.node("Add", ["mask", n.node("Mul", [n.number(.3, (1,)), n.node("MatMul", [q, k])])])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])), {"MatMul": 2, "Split": 1, "Attention": 1})


@pytest.mark.parametrize("shape", [(23,), (1, 23), (23, 1), (3, 1, 1), (2, 3, 23, 23)])
def test_mask_broadcasts(shape):
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads(n.product("x"))
    scores = n.node("Add", [n.node("MatMul", [q, k]), n.constant(*shape)])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])), {"MatMul": 2, "Attention": 1})


def test_one_product_split():
    """Q, K and V from one product; scales on Q and on K."""
    n = net()
    x = n.node("Reshape", [n.product("x", 3 * WIDTH), n.ints(0, 0, 3, HEADS, SIZE)])
    x = n.node("Transpose", [x], perm=[2, 0, 3, 1, 4])
    n.nodes.append(helper.make_node("Split", [x, n.ints(1, 1, 1)], ["q", "k", "v"], axis=0))
    q, k, v = (n.node("Squeeze", [name, n.ints(0)]) for name in "qkv")
    k = n.node("Mul", [n.node("Transpose", [k], perm=[0, 1, 3, 2]), n.number(.4)])
    p = n.softmax(n.node("MatMul", [n.node("Mul", [q, n.number(.5)]), k]))
    check(n, n.join(n.node("MatMul", [p, v])), {"MatMul": 2, "Attention": 1})


def test_one_product_gathered():
    n = net()
    x = n.node("Reshape", [n.product("x", 3 * WIDTH), n.ints(0, 0, 3, HEADS, SIZE)])
    x = n.node("Transpose", [x], perm=[2, 0, 3, 1, 4])
    q, k, v = (n.node("Gather", [x, n.scalar(i)], axis=0) for i in range(3))
    p = n.softmax(n.node("MatMul", [q, n.node("Transpose", [k], perm=[0, 1, 3, 2])]))
    check(n, n.join(n.node("MatMul", [p, v])), {"MatMul": 2, "Attention": 1})


def test_shared_keys():
    """One head of keys and values for all queries; values of another width."""
    n = net()
    q, k = n.heads(n.product("x")), n.heads(n.product("x", SIZE), (0, 2, 3, 1))
    v = n.heads(n.product("x", 7), width=7)
    p = n.softmax(n.node("MatMul", [q, k]))
    check(n, n.join(n.node("MatMul", [p, v]), HEADS * 7), {"MatMul": 2, "Split": 1, "Attention": 1})


def test_one_head():
    n = net()
    q, k = n.product("x"), n.node("Transpose", [n.product("x")], perm=[0, 2, 1])
    scores = n.node("Add", [n.node("MatMul", [q, k]), n.constant(2, 23, 23)])
    check(n, n.node("MatMul", [n.softmax(scores), "x"]), {"MatMul": 2, "Attention": 1})


def test_left_alone():
    """Scores that are read elsewhere, or softmax along queries."""
    n = net()
    k = n.node("Transpose", ["x"], perm=[0, 2, 1])
    p = n.softmax(n.node("MatMul", ["x", k]))
    y = n.node("MatMul", [p, "x"])
    z = n.node("Softmax", [n.node("MatMul", ["x", k])], axis=1)
    y = n.node("Add", [n.node("MatMul", [z, "x"]), n.node("MatMul", [p, y])])
    check(n, y, {"MatMul": 4, "Softmax": 2, "Transpose": 1, "Add": 1})
