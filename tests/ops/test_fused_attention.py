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
    check(n, n.join(n.node("MatMul", [p, v])), {"MatMul": 2, "Attention": 1})


def test_mask():
    n = net()
    q, k, v = n.heads(n.product("x")), n.heads(n.product("x"), (0, 2, 3, 1)), n.heads(n.product("x"))
    mask = np.where(np.random.default_rng(0).random((2, 1, 23, 23)) < .3, -3e38, 0).astype(np.float32)
    n.weights.append(numpy_helper.from_array(mask, "mask"))
    scores = n.node("Add", ["mask", n.node("Mul", [n.number(.3, (1,)), n.node("MatMul", [q, k])])])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])), {"MatMul": 2, "Attention": 1})


@pytest.mark.parametrize("shape", [(23,), (1, 23), (23, 1), (3, 1, 1), (2, 3, 23, 23)])
def test_mask_broadcasts(shape):
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads(n.product("x"))
    scores = n.node("Add", [n.node("MatMul", [q, k]), n.constant(*shape)])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])), {"MatMul": 2, "Attention": 1})


@pytest.mark.parametrize("first, second", [((3, 23, 23), (2, 1, 1, 23)), ((1, 3, 1, 23), (23, 1)), ((1,), (23,))])
def test_two_masks(first, second):
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads(n.product("x"))
    scores = n.node("Add", [n.constant(*first), n.node("MatMul", [q, k])])
    scores = n.node("Add", [scores, n.constant(*second)])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])), {"MatMul": 2, "Attention": 1})


@pytest.mark.parametrize("first, view, second", [((1, 3, 23, 23), (1, 2, 3, 23, 23), (1, 2, 1, 23, 23)),
                                                 ((3, 1, 23), (2, 1, 3, 23, 1, 23), (3, 23, 1, 1)),
                                                 (None, (1, 2, 3, 23, 23), (2, 1, 1, 23))])
def test_masks_of_views(first, view, second):
    """Shifted windows: what hides is added to scores that have a further axis for the image."""
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads(n.product("x"))
    scores = n.node("MatMul", [q, k])
    if first:
        scores = n.node("Add", [scores, n.constant(*first)])
    scores = n.node("Add", [n.node("Reshape", [scores, n.ints(*view)]), n.constant(*second)])
    scores = n.node("Reshape", [scores, n.ints(2, 3, 23, 23)])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])), {"MatMul": 2, "Attention": 1})


@pytest.mark.parametrize("back", [True, False])
def test_views_where_batch_and_heads_change_places(back):
    """Scores [2, 1, 23, 23]; what is added is of [1, 2, 23, 23], and so are values, unless it goes back."""
    n = net()
    q = n.node("Unsqueeze", ["x", n.ints(1)])
    k = n.node("Transpose", [q], perm=[0, 1, 3, 2])
    v = n.node("Unsqueeze", ["x", n.ints(1 if back else 0)])
    scores = n.node("Reshape", [n.node("MatMul", [q, k]), n.ints(1, 2, 23, 23)])
    scores = n.node("Add", [scores, n.constant(1, 2, 1, 23)])
    if back:
        scores = n.node("Reshape", [scores, n.ints(2, 1, 23, 23)])
    y = n.node("Reshape", [n.node("MatMul", [n.softmax(scores), v]), n.ints(2, 23, WIDTH)])
    check(n, y, {"Attention": 1, "Reshape": 1} if back else
          {"Transpose": 1, "MatMul": 2, "Add": 1, "Softmax": 1, "Reshape": 1})


def test_mask_of_a_view_of_other_axes():
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads("x")
    scores = n.node("Reshape", [n.node("MatMul", [q, k]), n.ints(6, 23, 23)])
    scores = n.node("Reshape", [n.node("Add", [scores, n.constant(6, 1, 23)]), n.ints(2, 3, 23, 23)])
    check(n, n.join(n.node("MatMul", [n.softmax(scores), v])),
          {"MatMul": 3, "Transpose": 3, "Add": 1, "Softmax": 1})


@pytest.mark.parametrize("shape", [(23, 23), (2, 1, 1, 23), (2, 3, 23, 23)])
@pytest.mark.parametrize("hidden, shows", [(-np.inf, True), (-3.4e38, False)])
def test_mask_by_where(shape, hidden, shows):
    n = net()
    q, k, v = n.heads(n.product("x")), n.heads(n.product("x"), (0, 2, 3, 1)), n.heads(n.product("x"))
    seen = np.random.default_rng(0).random(shape) < .7
    seen[..., 1] = True
    seen[..., 19:] = False
    n.weights.append(numpy_helper.from_array(seen == shows, "seen"))
    scores = [n.node("Mul", [n.number(.3), n.node("MatMul", [q, k])]), n.number(hidden)]
    w = n.softmax(n.node("Where", ["seen"] + (scores if shows else scores[::-1])))
    check(n, n.join(n.node("MatMul", [w, v])), {"MatMul": 2, "Attention": 1})


def zeroed(n, w, number=0):
    return n.node("Where", [n.node("IsNaN", [w]), n.number(number, (1,)), w])


@pytest.mark.parametrize("keys", [23, 5, 0])
def test_rows_of_nan_are_zero(keys):
    """As PyTorch writes out attention: queries that see no key get zeros."""
    n = net()
    q, k, v = n.heads(n.product("x")), n.heads(n.product("x"), (0, 2, 3, 1)), n.heads(n.product("x"))
    mask = np.zeros((23, 23), np.float32)
    mask[7], mask[16, keys:] = -np.inf, -np.inf
    n.weights.append(numpy_helper.from_array(mask, "mask"))
    scores = n.node("Add", [n.node("Mul", [n.node("MatMul", [q, k]), n.number(.3)]), "mask"])
    y = n.node("MatMul", [zeroed(n, n.softmax(scores)), v])
    check(n, n.join(y), {"MatMul": 2, "Attention": 1})


def test_rows_of_infinite_scores_are_zero():
    n = net()
    bias = np.zeros((23, 1), np.float32)
    bias[3], bias[4] = np.nan, np.inf
    n.weights.append(numpy_helper.from_array(bias, "bias"))
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads("x")
    w = n.softmax(n.node("Add", [n.node("MatMul", [q, k]), "bias"]))
    check(n, n.join(n.node("MatMul", [zeroed(n, w), v])), {"MatMul": 1, "Attention": 1})


def test_nan_becomes_another_number():
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads("x")
    w = zeroed(n, n.softmax(n.node("MatMul", [q, k])), .5)
    check(n, n.join(n.node("MatMul", [w, v])),
          {"MatMul": 3, "Transpose": 3, "Softmax": 1, "IsNaN": 1, "Where": 1})


def test_where_of_a_number_that_shows():
    n = net()
    q, k, v = n.heads("x"), n.heads("x", (0, 2, 3, 1)), n.heads("x")
    n.weights.append(numpy_helper.from_array(np.arange(23) < 20, "seen"))
    w = n.softmax(n.node("Where", ["seen", n.node("MatMul", [q, k]), n.number(-4)]))
    check(n, n.join(n.node("MatMul", [w, v])), {"MatMul": 3, "Transpose": 3, "Where": 1, "Softmax": 1})


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


@pytest.mark.parametrize("batch", [1, 2])
def test_sequence_first(batch):
    """As torch.nn.MultiheadAttention: Q, K, V gathered from one product, heads and batch one axis in between."""
    rows = 11
    n = Net(np.random.default_rng(batch), [rows, batch, WIDTH])
    x = n.node("Reshape", [n.product("x", 3 * WIDTH), n.ints(0, 0, 3, WIDTH)])
    q, k, v = (n.node("Gather", [x, n.scalar(i)], axis=2) for i in range(3))
    q, k, v = (n.node("Reshape", [part, n.ints(rows, batch * HEADS, SIZE)]) for part in (q, k, v))
    q, k, v = (n.node("Transpose", [part], perm=[1, 0, 2]) for part in (q, k, v))
    q, k, v = (n.node("Reshape", [part, n.ints(batch, HEADS, -1, SIZE)]) for part in (q, k, v))
    scores = n.node("MatMul", [n.node("Mul", [q, n.number(.3)]), n.node("Transpose", [k], perm=[0, 1, 3, 2])])
    y = n.node("Transpose", [n.node("MatMul", [n.softmax(scores), v])], perm=[2, 0, 1, 3])
    check(n, n.product(n.node("Reshape", [y, n.ints(0, batch, WIDTH)])), {"MatMul": 2, "Attention": 1})


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("y", ["bghid", "BGIhd"])
def test_einsum_of_windows(y, masked):
    """Two axes of the batch; Q, K, V sliced from one product; a mask for all windows."""
    n = Net(np.random.default_rng(5), [2, 3, 9, WIDTH])
    x = n.product("x", 3 * WIDTH)
    parts = [n.node("Slice", [x, n.ints(i * WIDTH), n.ints((i + 1) * WIDTH), n.ints(3)]) for i in range(3)]
    parts = [n.node("Reshape", [part, n.ints(2, 3, 9, HEADS, SIZE)]) for part in parts]
    q, k, v = (n.node("Transpose", [part], perm=[0, 1, 3, 2, 4]) for part in parts)
    scores = n.node("Mul", [n.node("Einsum", [q, k], equation="bghid, bghjd -> bghij"), n.number(.3)])
    scores = n.node("Add", [scores, n.constant(1, HEADS, 9, 9)]) if masked else scores
    made = n.node("Einsum", [n.softmax(scores), v], equation="bghij,bghjd->bghid")
    if y == "BGIhd":
        made = n.node("Transpose", [made], perm=[0, 1, 3, 2, 4])
        made = n.product(n.node("Reshape", [made, n.ints(2, 3, 9, WIDTH)]))
    check(n, made, {"MatMul": 2, "Attention": 1} if y == "BGIhd" else {"MatMul": 1, "Attention": 1, "Reshape": 1})


def test_einsum_reads_any_order():
    """Rows, heads and elements where letters say, keys before queries."""
    n = net()
    q, k, v = (n.node("Reshape", [n.product("x"), n.ints(0, 0, HEADS, SIZE)]) for _ in range(3))
    scores = n.node("Einsum", [k, q], equation="njhd,nihd->nhij")
    y = n.node("Einsum", [n.softmax(scores), v], equation="nhij,njhd->nhid")
    check(n, n.join(y), {"MatMul": 2, "Attention": 1})


def test_einsum_left_alone():
    """Results in another order, and sums over more than keys."""
    n = net()
    q, k, v = (n.heads("x") for _ in range(3))
    p = n.softmax(n.node("Einsum", [q, k], equation="nhid,nhjd->nhij"))
    y = n.node("Einsum", [p, v], equation="nhij,nhjd->nihd")
    z = n.node("Einsum", [n.node("Neg", [p]), v], equation="nhij,nhjd->nid")
    y = n.node("Add", [n.node("Reshape", [y, n.ints(0, 0, WIDTH)]), n.node("Concat", [z] * HEADS, axis=-1)])
    check(n, y, {"Einsum": 3, "Softmax": 1, "Transpose": 2, "Neg": 1, "Concat": 1, "Add": 1})


def test_unequal_windows_left_alone():
    """Keys of one window for all of a batch of several axes."""
    n = Net(np.random.default_rng(5), [2, 3, HEADS, 9, SIZE])
    k = n.node("Slice", ["x", n.ints(0), n.ints(1), n.ints(1)])
    p = n.softmax(n.node("MatMul", ["x", n.node("Transpose", [k], perm=[0, 1, 2, 4, 3])]))
    check(n, n.node("MatMul", [p, "x"]), {"Slice": 1, "Transpose": 1, "MatMul": 2, "Softmax": 1})


def test_one_head():
    n = net()
    q, k = n.product("x"), n.node("Transpose", [n.product("x")], perm=[0, 2, 1])
    scores = n.node("Add", [n.node("MatMul", [q, k]), n.constant(2, 23, 23)])
    check(n, n.node("MatMul", [n.softmax(scores), "x"]), {"MatMul": 2, "Attention": 1})


@pytest.mark.parametrize("attrs, transposes", [({}, 0), ({"scale": .2}, 0), ({"is_causal": 1}, 4)])
def test_operator(attrs, transposes):
    """ONNX's own takes no transposed operands."""
    n = net()
    n.opset, n.ir = 23, 10
    y = n.node("Attention", [n.heads(n.product("x")), n.heads(n.product("x")), n.heads("x")], **attrs)
    y = n.node("Transpose", [y], perm=[0, 2, 1, 3])
    steps = {"MatMul": 2, "Attention": 1, "Transpose": transposes}
    check(n, y, {k: v for k, v in steps.items() if v})


def test_left_alone():
    """Scores that are read elsewhere, or softmax along queries."""
    n = net()
    k = n.node("Transpose", ["x"], perm=[0, 2, 1])
    p = n.softmax(n.node("MatMul", ["x", k]))
    y = n.node("MatMul", [p, "x"])
    z = n.node("Softmax", [n.node("MatMul", ["x", k])], axis=1)
    y = n.node("Add", [n.node("MatMul", [z, "x"]), n.node("MatMul", [p, y])])
    check(n, y, {"MatMul": 4, "Softmax": 2, "Transpose": 1, "Add": 1})
