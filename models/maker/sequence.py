"""Models of text and time: attention, recurrent layers, strings."""

import numpy as np
from onnx import TensorProto, helper

from .case import case


def layer_norm_spelled(g, name, x, n):
    """LayerNormalization as exporters before opset 17 wrote it."""
    d = g.op("Sub", x, g.op("ReduceMean", x, name=f"{name}.mean", axes=[-1]), name=f"{name}.centre")
    square = g.op("Pow", d, g.init(f"{name}.two", 2.0), name=f"{name}.square")
    var = g.op("ReduceMean", square, name=f"{name}.var", axes=[-1])
    std = g.op("Sqrt", g.op("Add", var, g.init(f"{name}.epsilon", 1e-5), name=f"{name}.var_eps"), name=f"{name}.std")
    x = g.op("Mul", g.op("Div", d, std, name=f"{name}.div"), layer_norm_scale(g, name, n), name=f"{name}.mul")
    return g.op("Add", x, layer_norm_bias(g, name, n), name=f"{name}.add")


def layer_norm(g, name, x, n):
    return g.op("LayerNormalization", x, layer_norm_scale(g, name, n), layer_norm_bias(g, name, n), name=name, axis=-1)


def layer_norm_scale(g, name, n):
    return g.init(f"{name}.scale", g.rng.uniform(0.7, 1.3, n))


def layer_norm_bias(g, name, n):
    return g.init(f"{name}.bias", g.normal(n, 0.2))


def gelu(g, name, x):
    """x/2 (1 + erf(x / sqrt 2)), in five nodes."""
    e = g.op("Div", x, g.init(f"{name}.root2", 2**0.5), name=f"{name}.div")
    e = g.op("Add", g.op("Erf", e, name=f"{name}.erf"), g.init(f"{name}.one", 1.0), name=f"{name}.add")
    return g.op("Mul", g.op("Mul", x, e, name=f"{name}.mul"), g.init(f"{name}.half", 0.5), name=f"{name}.halve")


def dim(g, name, x, axis):
    """Dim `axis` of x as an int64 vector of one, in the three nodes exporters need."""
    shape = g.op("Shape", x, name=f"{name}.shape")
    size = g.op("Gather", shape, g.init(f"{name}.axis", axis, np.int64), name=f"{name}.gather", axis=0)
    return g.op("Unsqueeze", size, "axis0", name=f"{name}.unsqueeze")


def attention(g, name, x, mask, width, n_heads):
    """Multi-head self-attention; mask [batch, 1, 1, seq] is true where a token may be looked at."""
    head = width // n_heads
    batch, seq = dim(g, f"{name}.batch", x, 0), dim(g, f"{name}.seq", x, 1)
    sizes = g.ints(f"{name}.heads", n_heads, head)
    split = g.op("Concat", batch, seq, sizes, name=f"{name}.split_shape", axis=0)

    def heads(part, perm):
        y = g.op("Reshape", g.dense(f"{name}.{part}", x, width, width), split, name=f"{name}.{part}.reshape")
        return g.op("Transpose", y, name=f"{name}.{part}.transpose", perm=perm)

    q, k, v = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    score = g.op("MatMul", q, k, name=f"{name}.score")
    score = g.op("Div", score, g.init(f"{name}.root_head", head**0.5), name=f"{name}.scale")
    score = g.op("Where", mask, score, "lowest", name=f"{name}.mask")
    p = g.op("Softmax", score, name=f"{name}.softmax", axis=-1)
    y = g.op("Transpose", g.op("MatMul", p, v, name=f"{name}.mix"), name=f"{name}.merge_heads", perm=[0, 2, 1, 3])
    merged = g.op("Concat", batch, seq, g.ints(f"{name}.width", width), name=f"{name}.merge_shape", axis=0)
    return g.dense(f"{name}.last", g.op("Reshape", y, merged, name=f"{name}.merge"), width, width)


def encoder_layer(g, name, x, mask, width, norm):
    """Post-norm (Vaswani et al. 2017)."""
    y = attention(g, f"{name}.attention", x, mask, width, n_heads=4)
    x = norm(g, f"{name}.norm1", g.op("Add", x, y, name=f"{name}.add1"), width)
    y = gelu(g, f"{name}.gelu", g.dense(f"{name}.wide", x, width, 2 * width))
    y = g.dense(f"{name}.narrow", y, 2 * width, width)
    return norm(g, f"{name}.norm2", g.op("Add", x, y, name=f"{name}.add2"), width)


def embed(g, ids, vocabulary, width, n_positions):
    table = g.init("embed.table", g.normal((vocabulary, width), 1))
    x = g.op("Gather", table, ids, name="embed.tokens", axis=0)
    seq = g.op("Squeeze", dim(g, "embed.seq", ids, 1), "axis0", name="embed.squeeze")
    first, one = (g.init(f"embed.{n}", v, np.int64) for n, v in (("first", 0), ("step", 1)))
    positions = g.op("Range", first, seq, one, name="embed.range")
    table = g.init("embed.positions", g.normal((n_positions, width), 0.3))
    places = g.op("Gather", table, positions, name="embed.places", axis=0)
    return g.op("Add", x, places, name="embed.add")


def masked_mean(g, x, keep):
    """The mean over the tokens of which keep [batch, seq, 1] is 1."""
    total = g.op("ReduceSum", g.op("Mul", x, keep, name="pool.keep"), "axis1", name="pool.sum", keepdims=0)
    count = g.op("ReduceSum", keep, "axis1", name="pool.count", keepdims=0)
    count = g.op("Max", count, g.init("pool.least", 1.0), name="pool.max")
    g.op("Div", total, count, name="pool.div", out="pooled")


@case(
    "Transformer encoder, any batch and length: LayerNormalization spelled out and as operator, masked attention with"
    " computed shapes, erf-GELU"
)
def transformer(g):
    width, vocabulary, n_positions = 48, 64, 40
    for axis in range(3):
        g.ints(f"axis{axis}", axis)
    g.init("lowest", np.finfo(np.float32).min)
    ids = g.input("input_ids", "int64", "batch", "seq")
    mask = g.input("attention_mask", "int64", "batch", "seq")
    may_see = g.op(
        "Cast",
        g.op("Unsqueeze", mask, g.ints("axes12", 1, 2), name="mask.unsqueeze"),
        name="mask.cast",
        to=TensorProto.BOOL,
    )

    x = layer_norm_spelled(g, "embed.norm", embed(g, ids, vocabulary, width, n_positions), width)
    x = encoder_layer(g, "layer0", x, may_see, width, layer_norm_spelled)
    x = encoder_layer(g, "layer1", x, may_see, width, layer_norm)
    g.op("Identity", x, name="hidden.identity", out="hidden")
    keep = g.op("Cast", g.op("Unsqueeze", mask, "axis2", name="pool.unsqueeze"), name="pool.cast", to=TensorProto.FLOAT)
    masked_mean(g, x, keep)
    g.output("hidden", "float", "batch", "seq", width)
    g.output("pooled", "float", "batch", width)

    def feeds(rng, n, length=13):
        keep = np.arange(length) < rng.integers(length // 2, length + 1, (n, 1))
        return {"input_ids": rng.integers(1, vocabulary, (n, length)) * keep, "attention_mask": keep.astype(np.int64)}

    return feeds


def recurrent_params(g, name, n_in, hidden, gates, directions):
    """W, R, B of a recurrent layer."""
    std = hidden**-0.5
    w = g.init(f"{name}.W", g.normal((directions, gates * hidden, n_in), std))
    r = g.init(f"{name}.R", g.normal((directions, gates * hidden, hidden), std))
    return w, r, g.init(f"{name}.B", g.normal((directions, 2 * gates * hidden), 0.2))


@case(
    "Sequence tagger, any batch and length: Embedding, bidirectional LSTM with sequence_lens and all outputs, GRU both"
    " ways of reset, LogSoftmax, ArgMax",
    n_test=3,
)
def lstm_tagger(g):
    width, hidden, n_tags, vocabulary = 16, 20, 7, 50
    tokens, lens = g.input("tokens", "int64", "batch", "seq"), g.input("lengths", "int32", "batch")
    x = g.op("Gather", g.init("embed.table", g.normal((vocabulary, width), 1)), tokens, name="embed", axis=0)
    x = g.op("Transpose", x, name="time_first", perm=[1, 0, 2])
    params = recurrent_params(g, "lstm", width, hidden, 4, 2)
    outs = ("lstm.Y", "last_h", "last_c")
    y = g.op("LSTM", x, *params, lens, name="lstm", out=outs, hidden_size=hidden, direction="bidirectional")[0]
    y = g.op("Transpose", y, name="lstm.transpose", perm=[0, 2, 1, 3])
    y = g.op("Reshape", y, g.ints("lstm.merged", 0, 0, -1), name="lstm.merge")

    one = g.ints("axis1", 1)
    params = recurrent_params(g, "gru0", 2 * hidden, hidden, 3, 1)
    y = g.op("GRU", y, *params, lens, name="gru0", hidden_size=hidden, linear_before_reset=1)
    y = g.op("Squeeze", y, one, name="gru0.squeeze")
    params = recurrent_params(g, "gru1", hidden, hidden, 3, 1)
    y = g.op("GRU", y, *params, name="gru1", hidden_size=hidden, direction="reverse")
    y = g.op("Transpose", g.op("Squeeze", y, one, name="gru1.squeeze"), name="batch_first", perm=[1, 0, 2])

    scores = g.op("LogSoftmax", g.dense("tag", y, hidden, n_tags), name="tag.log_softmax", out="scores", axis=-1)
    g.op("ArgMax", scores, name="tag.argmax", out="tags", axis=-1, keepdims=0)
    g.output("scores", "float", "batch", "seq", n_tags)
    g.output("tags", "int64", "batch", "seq")
    g.output("last_h", "float", 2, "batch", hidden)
    g.output("last_c", "float", 2, "batch", hidden)

    def feeds(rng, n, length=11):
        lengths = rng.integers(3, length + 1, n).astype(np.int32)
        lengths[0] = length
        return {"tokens": rng.integers(0, vocabulary, (n, length)), "lengths": lengths}

    return feeds


WORDS = "the cat dog bird sees hears likes small big old red naïve and not".split()
CLASSES = ["pets", "wild", "other"]


def ragged_rows(g, table, lens):
    """A sequence with row i of table, cut to lens[i]: SequenceInsert in a Loop."""
    b = g.body()
    i, go, seq = b.input("row", "int64"), b.input("go", "bool"), "rows"
    b.inputs.append(helper.make_tensor_sequence_value_info(seq, TensorProto.INT64, ["L"]))
    line = b.op("Gather", table, i, name="ragged.row", axis=0)
    length = b.op("Unsqueeze", b.op("Gather", lens, i, name="ragged.length", axis=0), "axis0", name="ragged.end")
    line = b.op("Slice", line, b.ints("ragged.begin", 0), length, name="ragged.cut")
    b.op("SequenceInsert", seq, line, name="ragged.insert", out="rows_next")
    b.op("Identity", go, name="ragged.go", out="go_next")
    b.output("go_next", "bool")
    b.outputs.append(helper.make_tensor_sequence_value_info("rows_next", TensorProto.INT64, ["L"]))
    count = g.op("Squeeze", g.op("Shape", lens, name="ragged.shape"), "axis0", name="ragged.count")
    empty = g.op("SequenceEmpty", name="ragged.empty", dtype=TensorProto.INT64)
    return g.op("Loop", count, "", empty, name="ragged", body=b.proto("ragged_row"))


@case(
    "Text classifier: strings split, looked up and embedded; a sequence of ragged rows built in a Loop, concatenated"
    " and measured; string outputs",
    opset=20,
    ir=9,
    domains={"ai.onnx.ml": 3},
    n_test=4,
)
def text_classifier(g):
    width = 12
    g.ints("axis0", 0)
    g.ints("axis1", 1)
    text = g.input("text", "string", "N")
    words, lens = g.op("StringSplit", text, name="split", out=("words", "lengths"))
    ids = g.op(
        "LabelEncoder",
        words,
        name="lookup",
        domain="ai.onnx.ml",
        keys_strings=["", *WORDS],
        values_int64s=list(range(len(WORDS) + 1)),
        default_int64=len(WORDS) + 1,
    )
    table = g.normal((len(WORDS) + 2, width), 1)
    table[0] = 0
    x = g.op("Gather", g.init("embed.table", table), ids, name="embed", axis=0)
    x = g.op("ReduceSum", x, "axis1", name="bag.sum", keepdims=0)
    count = g.op("Cast", g.op("Unsqueeze", lens, "axis1", name="bag.unsqueeze"), name="bag.cast", to=TensorProto.FLOAT)
    x = g.op("Div", x, g.op("Max", count, g.init("bag.least", 1.0), name="bag.max"), name="bag.mean")
    scores = g.op(
        "Softmax", g.gemm("classifier", g.bn("bag.bn", x, width), width, 3), name="softmax", out="scores", axis=-1
    )
    best = g.op("ArgMax", scores, name="best", axis=-1, keepdims=0)
    label = g.op(
        "LabelEncoder",
        best,
        name="label",
        domain="ai.onnx.ml",
        keys_int64s=[0, 1, 2],
        values_strings=CLASSES,
        default_string="?",
    )
    g.op("StringConcat", g.init("prefix", ["class/"], object), label, name="prefix.concat", out="label.full")

    rows = ragged_rows(g, ids, lens)
    g.op("ConcatFromSequence", rows, name="flat", out="flat_ids", axis=0)
    g.op("SequenceLength", rows, name="flat.count", out="n_texts")
    last = g.op("SequenceAt", rows, g.init("flat.last", -1, np.int64), name="flat.at", out="last_ids")
    g.op("RegexFullMatch", text, name="negated", out="is_negated", pattern="(.* )?not( .*)?")
    for name, elem, *shape in (
        ("scores", "float", "N", 3),
        ("label.full", "string", "N"),
        ("flat_ids", "int64", "total"),
        ("n_texts", "int64"),
        (last, "int64", "last"),
        ("is_negated", "bool", "N"),
    ):
        g.output(name, elem, *shape)

    def feeds(rng, n):
        known = [*WORDS, "zebra"]
        lines = ["  ".join(rng.choice(known, rng.integers(1, 8))) for _ in range(n - 2)]
        return {"text": np.array(["", *lines, "one naïve zebra not seen"], dtype=np.str_)}

    return feeds
