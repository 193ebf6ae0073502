"""If, Loop, Scan, SequenceMap, sequences and optionals: whole graphs, written in ONNX's textual syntax."""
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import OptionalProto, SequenceProto, TensorProto, numpy_helper

from nodes import COMMAND, Failed

F = np.float32
LOAD = {"tensor_type": (TensorProto, numpy_helper.to_array), "sequence_type": (SequenceProto, numpy_helper.to_list),
        "optional_type": (OptionalProto, numpy_helper.to_optional)}


def run(text, *inputs, options=()):
    """The outputs of a model, or of a graph given as text; lists are sequences."""
    model = text if isinstance(text, onnx.ModelProto) else onnx.parser.parse_model(text)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        (tmp / "in").mkdir(), (tmp / "out").mkdir()
        onnx.save(model, tmp / "m.onnx")
        for i, a in enumerate(inputs):
            proto = numpy_helper.from_list(a) if isinstance(a, list) else numpy_helper.from_array(np.asarray(a))
            (tmp / "in" / f"input_{i}.pb").write_bytes(proto.SerializeToString())
        p = subprocess.run([*COMMAND, "run", tmp / "m.onnx", "--inputs", tmp / "in", "--output-dir", tmp / "out",
                            *options], capture_output=True, text=True, timeout=60)
        if p.returncode < 0:
            raise AssertionError(f"ended by signal {-p.returncode}: {p.stderr}")
        if p.returncode:
            raise Failed(p.stderr.strip())
        out = []
        for i, o in enumerate(model.graph.output):
            proto, to_value = LOAD[o.type.WhichOneof("value")]
            out.append(to_value(proto.FromString((tmp / "out" / f"output_{i}.pb").read_bytes())))
        return out


def same(got, want):
    if isinstance(want, list):
        assert len(got) == len(want)
        for g, w in zip(got, want):
            same(g, w)
        return
    want = np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape, f"{got.dtype}{got.shape}, not {want.dtype}{want.shape}"
    assert (got == want).all(), f"{got}, not {want}"


def check(text, inputs, want):
    same(run(text, *inputs), want)


def refuses(text, inputs, *words, options=()):
    with pytest.raises(Failed) as e:
        run(text, *inputs, options=options)
    assert all(w.lower() in str(e.value).lower() for w in words), e.value


def model(opset, signature, body):
    return f'<ir_version: 10, opset_import: ["" : {opset}]> g {signature} {{ {body} }}'


# If

IF = """y = If (c) <then_branch = a () => (float[] t) { t = Add(x, x) },
                   else_branch = b () => (float[] e) { e = ReduceSum<keepdims=0>(x) }>"""


@pytest.mark.parametrize("opset", (13, 16, 21, 25))
def test_if_takes_outer_values_and_shapes_differ(opset):
    x = np.arange(6, dtype=F).reshape(2, 3)
    text = model(opset, "(bool[] c, float[N,3] x) => (float[] y)", IF)
    check(text, [True, x], [x + x])
    check(text, [np.array([False]), x], [x.sum()])
    refuses(text, [np.array([True, False]), x], "condition")


def test_if_gives_values_of_outer_graphs():
    text = model(16, "(bool c, float[2] x, float[2] z) => (float[2] y, float[2] w)", """
        k = Neg(x)
        y, w = If (c) <then_branch = a () => (float[2] p, float[2] q) { p = Identity(k) q = Identity(z) },
                       else_branch = b () => (float[2] r, float[2] s) { r = Identity(z) s = Identity(x) }>""")
    x, z = F([1, 2]), F([3, 4])
    check(text, [True, x, z], [-x, z])
    check(text, [False, x, z], [z, x])


def test_if_nested_reads_through_two_graphs():
    text = model(16, "(bool c, bool d, float[2] x) => (float[2] y)", """
        y = If (c) <then_branch = a () => (float[2] p) {
              u = Neg(x)
              p = If (d) <then_branch = aa () => (float[2] q) { q = Add(u, x) },
                          else_branch = ab () => (float[2] r) { r = Mul(u, x) }> },
            else_branch = b () => (float[2] s) { s = Identity(x) }>""")
    x = F([2, 3])
    check(text, [True, True, x], [x * 0])
    check(text, [True, False, x], [-x * x])
    check(text, [False, False, x], [x])


def test_untaken_branch_may_be_impossible():
    text = model(16, "(float[N] x) => (float[] y)", """
        s = Shape(x)
        n = Size(x)
        three = Constant<value = int64 {3}>()
        c = Equal(n, three)
        y = If (c) <then_branch = a () => (float[] p) { k = Constant<value = float[3] {1,2,3}>() p = Add(x, k) },
                    else_branch = b () => (float[] q) { q = Neg(x) }>""")
    check(text, [F([1, 1, 1])], [F([2, 3, 4])])
    check(text, [F([1, 1])], [F([-1, -1])])


def test_if_sequences():
    text = model(13, "(bool c, float[2] x) => (seq(float[]) y)", """
        y = If (c) <then_branch = a () => (seq(float[]) p) { p = SequenceConstruct(x, x) },
                    else_branch = b () => (seq(float[]) q) { q = SequenceEmpty() }>""")
    check(text, [True, F([1, 2])], [[F([1, 2])] * 2])
    check(text, [False, F([1, 2])], [[]])


# Loop

SUM = """body (int64 i, bool go_in, float[] a) => (bool go, float[] b, float[] s) {
           k = Cast<to=1>(i) b = Add(a, k) s = Mul(b, x) go = Identity(go_in) }"""


@pytest.mark.parametrize("opset", (11, 13, 16, 21, 25))
@pytest.mark.parametrize("trips", (0, 1, 5))
def test_loop_carries_and_scans(opset, trips):
    text = model(opset, "(int64 n, bool c, float[2] v, float[2] x) => (float[2] y, float[K,2] z)",
                 f"y, z = Loop (n, c, v) <body = {SUM}>")
    v, x, state, scanned = F([1, 2]), F([3, 5]), F([1, 2]), []
    for i in range(trips):
        state = state + F(i)
        scanned.append(state * x)
    want = [state, np.stack(scanned) if trips else np.zeros((0, 2), F)]
    got = run(text, np.int64(trips), True, v, x)
    same(got[0], want[0])
    if trips:
        same(got[1], want[1])
    else:
        assert got[1].shape[0] == 0 and got[1].ndim == 2
    same(run(text, np.int64(trips), False, v, x)[0], v)


def test_no_trip_of_a_shape_known_by_running():
    text = model(16, "(float[N,T] x) => (float[K,A,B] y)", '''
        n = Constant<value = int64 {0}>()
        y = Loop (n, "") <body = body (int64 i, bool c_in) => (bool c, float[] s) { s = Neg(x) c = Identity(c_in) }>''')
    check(text, [np.ones((2, 3), F)], [np.zeros((0, 2, 3), F)])


def test_loop_ends():
    count = """body (int64 i, bool c_in, int64 a) => (bool c_out, int64 b) {
                 one = Constant<value = int64 {1}>() five = Constant<value = int64 {5}>()
                 b = Add(a, one) c_out = Less(b, five) }"""
    zero, text = np.int64(0), model(16, "(int64 n, bool c, int64 v) => (int64 y)", "y = Loop ({}) <body = %s>" % count)
    check(text.replace("({})", "(n, c, v)"), [np.int64(3), True, zero], [np.int64(3)])
    check(text.replace("({})", "(n, c, v)"), [np.int64(9), True, zero], [np.int64(5)])
    check(text.replace("({})", "(n, c, v)"), [np.int64(-9), True, zero], [zero])
    check(text.replace("({})", '("", c, v)'), [zero, True, zero], [np.int64(5)])
    check(text.replace("({})", '("", c, v)'), [zero, False, zero], [zero])
    # without a condition of the caller's, the body's is not asked (the specification's table)
    check(text.replace("({})", '(n, "", v)'), [np.int64(9), True, zero], [np.int64(9)])


def test_loop_limits():
    forever = """body (int64 i, bool c_in, int64[1] a) => (bool c, int64[] b) { b = Concat<axis=0>(a, a) c = Identity(c_in) }"""
    text = model(16, '(int64[1] v) => (int64[] y)', f'y = Loop ("", "", v) <body = {forever}>')
    refuses(text, [np.ones(1, np.int64)], options=["--max-memory", "64M"])
    still = """body (int64 i, bool c_in, int64[1] a) => (bool c, int64[] b) { b = Neg(a) c = Identity(c_in) }"""
    text = model(16, '(int64[1] v) => (int64[] y)', f'y = Loop ("", "", v) <body = {still}>')
    refuses(text, [np.ones(1, np.int64)], "trips", options=["--max-steps", "1000"])
    nested = f"""outer (int64 i, bool c_in, int64[1] a) => (bool c, int64[] b) {{
                   b = Loop ("", "", a) <body = {still.replace("c_in", "d_in").replace("body", "inner")
                                                .replace(" i,", " j,").replace(" a)", " e)").replace("Neg(a)", "Neg(e)")
                                                .replace("bool c,", "bool d,").replace("c = ", "d = ").replace(" b)", " f)").replace("b = Neg", "f = Neg")}>
                   c = Identity(c_in) }}"""
    text = model(16, '(int64[1] v) => (int64[] y)', f'y = Loop ("", "", v) <body = {nested}>')
    refuses(text, [np.ones(1, np.int64)], "trips", options=["--max-steps", "1000"])


def test_loop_shapes_grow():
    text = model(16, "(int64 n, float[1] v) => (float[] y)", """
        c = Constant<value = bool {1}>()
        y = Loop (n, c, v) <body = body (int64 i, bool c_in, float[] a) => (bool c_out, float[] b) {
              b = Concat<axis=0>(a, v) c_out = Identity(c_in) }>""")
    check(text, [np.int64(20), F([7])], [np.full(21, 7, F)])


def test_loop_scanned_shapes_must_agree():
    text = model(16, "(int64 n, float[1] v) => (float[] y, float[] z)", """
        c = Constant<value = bool {1}>()
        y, z = Loop (n, c, v) <body = body (int64 i, bool c_in, float[] a) => (bool c_out, float[] b, float[] s) {
              b = Concat<axis=0>(a, v) s = Neg(a) c_out = Identity(c_in) }>""")
    refuses(text, [np.int64(3), F([7])], "trip 1")


def test_loop_carries_sequences_and_strings():
    text = model(16, "(int64 n, float[2] v) => (seq(float[2]) y, int64 len)", """
        c = Constant<value = bool {1}>()
        s = SequenceEmpty<dtype=1>()
        y, last = Loop (n, c, s, v) <body = body (int64 i, bool c_in, seq(float[2]) a, float[2] w)
                                           => (bool c_out, seq(float[2]) b, float[2] u) {
              u = Add(w, w) b = SequenceInsert(a, u) c_out = Identity(c_in) }>
        len = SequenceLength(y)""")
    v = F([1, 2])
    check(text, [np.int64(3), v], [[v * 2, v * 4, v * 8], np.int64(3)])
    text = model(20, "(int64 n, string[1] v) => (string[] y, string[] z)", """
        c = Constant<value = bool {1}>()
        y, z = Loop (n, c, v) <body = body (int64 i, bool c_in, string[] a) => (bool c_out, string[] b, string[] s) {
              b = StringConcat(a, v) s = Identity(b) c_out = Identity(c_in) }>""")
    try:
        check(text, [np.int64(2), np.array(["ab"], object)],
              [np.array(["ababab"], object), np.array([["abab"], ["ababab"]], object)])
    except Failed as e:
        if "not supported" not in str(e):
            raise


def test_loop_in_loop():
    text = model(16, "(int64 n, int64 m) => (int64[N,M] z)", """
        c = Constant<value = bool {1}>()
        z = Loop (n, c) <body = outer (int64 i, bool c_in) => (bool c_out, int64[] s) {
              s = Loop (m, c_in) <body = inner (int64 j, bool d_in) => (bool d_out, int64 p) {
                    p = Mul(i, j) d_out = Identity(d_in) }>
              c_out = Identity(c_in) }>""")
    i, j = np.mgrid[:4, :5]
    check(text, [np.int64(4), np.int64(5)], [i * j])


# Scan

def scan9(x, axis_in, axis_out, back_in, back_out):
    state, out = F(0), []
    rows = np.moveaxis(x, axis_in, 0)
    for row in rows[::-1] if back_in else rows:
        state = state + row.sum(dtype=F)
        out.append(row + state)
    return state, np.stack(out[::-1] if back_out else out, axis_out)


@pytest.mark.parametrize("opset", (9, 11, 16, 21, 25))
def test_scan(opset):
    x = np.arange(24, dtype=F).reshape(2, 3, 4)
    for axis_in, axis_out, back_in, back_out in (0, 0, 0, 0), (1, 2, 1, 0), (2, 1, 0, 1), (-1, -1, 1, 1):
        if opset < 11 and axis_in < 0:
            continue
        text = model(opset, "(float v, float[2,3,4] x) => (float y, float[A,B,C] z)", f"""
            y, z = Scan (v, x) <num_scan_inputs = 1, scan_input_axes = [{axis_in}], scan_output_axes = [{axis_out}],
              scan_input_directions = [{back_in}], scan_output_directions = [{back_out}],
              body = body (float a, float[P,Q] r) => (float b, float[P,Q] s) {{
                  t = ReduceSum<keepdims=0>(r) b = Add(a, t) s = Add(r, b) }}>""")
        check(text, [F(0), x], list(scan9(x, axis_in, axis_out, back_in, back_out)))


def test_scan_several():
    text = model(16, "(float[2] v, float[T,2] x, float[2,U] w) => (float[2] y, float[T,2] z)", """
        y, z = Scan (v, x, w) <num_scan_inputs = 2, scan_input_axes = [0, 1],
          body = body (float[2] a, float[2] r, float[2] q) => (float[2] b, float[2] s) {
              t = Mul(r, q) b = Add(a, t) s = Identity(a) }>""")
    x, w = np.arange(8, dtype=F).reshape(4, 2), np.arange(8, dtype=F).reshape(2, 4)
    total = np.cumsum(np.concatenate([F([[1, 1]]), x * w.T]), 0, dtype=F)
    check(text, [F([1, 1]), x, w], [total[-1], total[:-1]])
    refuses(text, [F([1, 1]), x, w[:, :3]], "slices")
    got = run(text, F([1, 1]), x[:0], w[:, :0])
    same(got[0], F([1, 1]))
    assert got[1].shape == (0, 2)


@pytest.mark.parametrize("back", (0, 1))
def test_scan_8(back):
    text = model(8, "(int64[2] lens, float[2,3] v, float[2,T,3] x) => (float[2,3] y, float[2,T,3] z)", f"""
        y, z = Scan (lens, v, x) <num_scan_inputs = 1, directions = [{back}],
          body = body (float[3] a, float[3] r) => (float[3] b, float[3] s) {{ b = Add(a, r) s = Identity(b) }}>""")
    x, v = np.arange(24, dtype=F).reshape(2, 4, 3), np.ones((2, 3), F)
    y, z = v.copy(), np.zeros_like(x)
    for b, n in enumerate((4, 2)):
        for t in range(n):
            y[b] += x[b, n - 1 - t if back else t]
            z[b, t] = y[b]
    check(text, [np.array([4, 2]), v, x], [y, z])
    whole = text.replace("(lens, v, x)", '("", v, x)')
    step = x[:, ::-1] if back else x
    check(whole, [np.array([4, 2]), v, x], [v + x.sum(1), v[:, None] + np.cumsum(step, 1, dtype=F)])
    refuses(text, [np.array([5, 2]), v, x], "length 5")


# Sequences and optionals

def test_sequences():
    text = model(13, "(seq(float[]) s, float[] x, int64 at) => (seq(float[]) a, seq(float[]) b, float[] c, int64 n, seq(float[]) d)", """
        a = SequenceInsert(s, x, at)
        b = SequenceErase(s, at)
        c = SequenceAt(s, at)
        n = SequenceLength(a)
        d = SequenceErase(s)""")
    items, x = [F([1]), F([[2, 3]]), np.array(4, F)], F([9, 9])
    for at in -3, -1, 0, 2:
        more, less = list(items), list(items)
        more.insert(at if at >= 0 else at + 3, x)
        del less[at]
        check(text, [items, x, np.int64(at)], [more, less, items[at], np.int64(4), items[:-1]])
    insert = model(13, "(seq(float[]) s, float[] x, int64 at) => (seq(float[]) a)", "a = SequenceInsert(s, x, at)")
    check(insert, [items, x, np.int64(3)], [items + [x]])
    refuses(insert, [items, x, np.int64(4)], "position 4")
    refuses(insert, [items, x, np.int64(-4)], "position -4")
    at = model(13, "(seq(float[]) s, int64 at) => (float[] a)", "a = SequenceAt(s, at)")
    refuses(at, [items, np.int64(3)], "position 3")
    refuses(at, [[], np.int64(0)])
    refuses(at, [[np.array([1], np.int64)], np.int64(0)], "'s'", "elements of other types")
    refuses(at, [[items[0], np.array([1.])], np.int64(0)], "'s'")


def test_sequence_split_and_concat():
    text = model(11, "(float[6,2] x) => (seq(float[]) s, float[6,2] y, float[3,2,2] z, seq(float[]) r)", """
        two = Constant<value = int64 {2}>()
        s = SplitToSequence(x, two)
        y = ConcatFromSequence<axis = 0>(s)
        z = ConcatFromSequence<axis = -2, new_axis = 1>(s)
        r = SplitToSequence<keepdims = 0, axis = 1>(x)""")
    x = np.arange(12, dtype=F).reshape(6, 2)
    parts = [x[:2], x[2:4], x[4:]]
    check(text.replace("float[3,2,2]", "float[2,3,2]"), [x], [parts, x, np.stack(parts, 1), [x[:, 0], x[:, 1]]])
    text = model(11, "(int64[3] n, string[] x) => (seq(string[]) s)", "s = SplitToSequence(x, n)")
    x = np.array(["a", "bc", "", "def"], object)
    check(text, [np.array([1, 0, 3]), x], [[x[:1], x[1:1], x[1:]]])
    refuses(text, [np.array([1, 0, 2]), x], "add up to 3")
    refuses(text, [np.array([5, -1, 0]), x], "-1")


def test_sequence_map():
    text = model(17, "(seq(float[]) s, float[] x, seq(float[]) t) => (seq(float[]) a, seq(int64[]) b)", """
        a, b = SequenceMap (s, x, t) <body = body (float[] p, float[] q, float[] r) => (float[] u, int64[] v) {
            w = Add(p, q) u = Mul(w, r) v = Shape(u) }>""")
    s, t, x = [F([1, 2]), F([[3, 4]])], [F([5, 6]), F([7, 8])], F([10, 20])
    check(text, [s, x, t], [[(a + x) * b for a, b in zip(s, t)], [np.array([2]), np.array([1, 2])]])
    check(text, [[], x, []], [[], []])
    refuses(text, [s, x, t[:1]], "items")


def test_optionals():
    text = model(18, "(float[2] x, seq(float[]) s) => (float[2] y, seq(float[]) t, bool h, bool i, bool j, float[2] z)", """
        o = Optional(x)
        p = Optional(s)
        n = Optional<type = float[2]>()
        y = OptionalGetElement(o)
        t = OptionalGetElement(p)
        z = OptionalGetElement(x)
        h = OptionalHasElement(o)
        i = OptionalHasElement(n)
        j = OptionalHasElement()""")
    x, s = F([1, 2]), [F([3])]
    check(text, [x, s], [x, s, np.array(True), np.array(False), np.array(False), x])
    text = model(18, "(float[2] x) => (float[2] y)", "o = Optional<type = float[2]>() y = OptionalGetElement(o)")
    refuses(text, [x], "no element")
