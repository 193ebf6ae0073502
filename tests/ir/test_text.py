"""The text form agrees with ONNX's own parser and printer.

A model is printed by onnx.printer, read and printed by infold, and read by onnx.parser: it must be what
onnx.parser makes of onnx.printer's text itself. What infold prints of hand-written texts with all kinds of
types, constants and attributes is held against the texts in the same way.
"""

import pathlib
import shutil
import subprocess

import pytest
from onnx import AttributeProto, GraphProto, TensorProto, load, numpy_helper, parser, printer
from onnx.backend.test import loader

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = [p for d in ("base", "tensor", "ir") for p in sorted((ROOT / "src" / d).glob("*.c"))]
TEXT_LIMIT = 2_000_000


@pytest.fixture(scope="module")
def infold_text(tmp_path_factory):
    cc = shutil.which("cc") or pytest.skip("no C compiler")
    tool = tmp_path_factory.mktemp("ir") / "print_text"
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-w", f"-I{ROOT / 'src'}"]
    sources = [pathlib.Path(__file__).parent / "print_text.c", ROOT / "src/ops/schema.c", *SOURCES]
    subprocess.run([cc, *flags, *map(str, sources), "-o", str(tool), "-lm", "-lpthread"], check=True)

    def run(text):
        done = subprocess.run([tool], input=text.encode(), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    return run


# ---- what of a model the syntax can say, as plain values ----


def tensor_facts(t):
    if t.data_type == TensorProto.STRING:
        return t.data_type, tuple(t.dims), tuple(t.string_data)
    return t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes()


def attr_facts(a):
    single = {
        AttributeProto.TENSOR: lambda: tensor_facts(a.t),
        AttributeProto.GRAPH: lambda: graph_facts(a.g),
    }
    if a.ref_attr_name:
        return a.type, a.ref_attr_name
    if a.type in single:
        return a.type, single[a.type]()
    plain = AttributeProto()
    plain.CopyFrom(a)
    plain.name = ""
    return a.type, plain.SerializeToString(deterministic=True)


def node_facts(n):
    domain = "" if n.domain == "ai.onnx" else n.domain
    attrs = {a.name: attr_facts(a) for a in n.attribute}
    return n.name, domain, n.op_type, n.overload, tuple(n.input), tuple(n.output), attrs


def infos_facts(infos):
    return [(v.name, v.type.SerializeToString(deterministic=True)) for v in infos]


def graph_facts(g):
    inputs = {v.name for v in g.input}
    outputs = {v.name for v in g.output}
    made = {name for n in g.node for name in n.output} - outputs
    return {
        "name": g.name,
        "inputs": infos_facts(g.input),
        "outputs": [(n, "" if n in inputs else t) for n, t in infos_facts(g.output)],
        "types": sorted(v for v in infos_facts(g.value_info) if v[0] in made),
        "initializers": {t.name: tensor_facts(t) for t in g.initializer},
        "nodes": [node_facts(n) for n in g.node],
    }


def function_facts(f):
    defaults = {a.name: attr_facts(a) for a in f.attribute_proto}
    nodes = [node_facts(n) for n in f.node]
    opsets = [(o.domain, o.version) for o in f.opset_import]
    return f.domain, f.name, f.overload, opsets, list(f.attribute), defaults, list(f.input), list(f.output), nodes


def model_facts(m):
    header = m.ir_version, m.producer_name, m.producer_version, m.domain, m.model_version, m.doc_string
    opsets = [("" if o.domain == "ai.onnx" else o.domain, o.version) for o in m.opset_import]
    return header, opsets, graph_facts(m.graph), [function_facts(f) for f in m.functions]


# ---- models of files ----


def model_files():
    files = [*(ROOT / "models").rglob("*.onnx"), *pathlib.Path(loader.DATA_DIR).rglob("*.onnx")]
    return sorted(p for p in files if p.stat().st_size < TEXT_LIMIT // 8)


def id_of(path):
    return "/".join(path.parts[-3:-1])


@pytest.mark.parametrize("path", model_files(), ids=id_of)
def test_model_printed_by_onnx(path, infold_text):
    text = printer.to_text(load(path, load_external_data=False))
    try:
        expected = model_facts(parser.parse_model(text))
    except Exception as error:  # noqa: BLE001: what onnx cannot read of its own is no case
        pytest.skip(f"onnx.parser does not read onnx.printer's text: {str(error)[:200]}")
    if '"location"' in text:
        pytest.skip("external data")
    ours = infold_text(text)
    assert model_facts(parser.parse_model(ours)) == expected
    assert infold_text(ours) == ours


# ---- texts ----

HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.acme" : 1]>\n'
TEXTS = {
    "types": """g (float[N,3,"H*2",?] x, float[] u, float s, seq(float[?]) q, optional(seq(int64[2])) o,
        map(string, float[N]) m, sparse_tensor(float[3,4]) p, bfloat16[1] b, bare) => (float[N] z, x)
        <double[N,N] t> { t = Op (x, u) z = Op (t) }""",
    "constants": """g (float d = {1.5}, int64[2] i = {-9223372036854775808, 9223372036854775807}) => ()
        <float[4] a = {1e-45, 3.4028235e38, -0.1, 16777217}, double[2] b = {5e-324, 0.1}, int8[2] c = {-128, 127},
        uint8[2] e = {0, 255}, int16[1] f = {-32768}, uint16[1] h = {65535}, int32[1] j = {-2147483648},
        uint32[1] k = {4294967295}, uint64[1] l = {18446744073709551615}, bool[2] n = {0, 1},
        float16[2] o = {15360, 64512}, bfloat16[1] p = {16256}, float8e4m3fn[1] q = {3},
        float8e5m2[1] r = {255}, string[3] s = {"a\\"b", "c\\\\d", ""}, float[0,3] t = {}, float u = {inf},
        float[3] v = {-inf, nan, 0}> {}""",
    "attributes": """g (float[N] x) => (y)
        { y = Op <i = 3, f = 1.0, g: float = 2, h = 1e30, s = "a", is = [1, -2], fs = [1.0, 2.5], ss = ["a", "b"],
          e: ints = [], ef: floats = [], es: strings = [], t = float[2] {1, 2}, u: type_proto = seq(float[N]),
          n = nan, m = -inf> (x) }""",
    "nodes": """"a graph" (float[N] x, float[N] "float") => (y, z)
        { [n1] y, "", "an output" = com.acme.Op (x, , "", "float")  ["node 2"] z = com.acme.deep.Op:over ("an output")
          = Sink (y) }""",
    "graphs": """g (float[N] x, bool c) => (y)
        { y = If (c) <then_branch = t () => (float[N] p) <float[1] w = {1}, float[N] q> { q = Neg (x) p = Add (q, w) },
          else_branch = e () => (p) { p = If (c) <then_branch = t2 () => (r) { r = Abs (x) },
          else_branch = e2 () => (r) { r = Neg (x) }> }> }""",
    "functions": """g (float[N] x) => (y) { y = com.acme.f <k = 1> (x) }
        <domain: "com.acme", opset_import: ["" : 21], doc_string: "a function">
        f <k, l: int = 2, m = [1.5]> (x, opt) => (y) { y = Op <k: int = @k, l: int = @l, m: floats = @m> (x, opt) }
        <domain: "com.acme", overload: "v2", opset_import: ["" : 20]> "f g" (x) => (x) {}""",
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name, infold_text):
    text = HEAD + TEXTS[name]
    ours = infold_text(text)
    assert model_facts(parser.parse_model(ours)) == model_facts(parser.parse_model(text))
    assert infold_text(ours) == ours


def test_header(infold_text):
    text = (
        '<ir_version: 8, opset_import: ["ai.onnx" : 17, "d" : 2], producer_name: "me \\"x\\"", producer_version: "1",\n'
        'domain: "org", model_version: 7, doc_string: "two\nlines # not a comment"> # a comment\ng () => () {}'
    )
    ours = infold_text(text)
    assert model_facts(parser.parse_model(ours)) == model_facts(parser.parse_model(text))
    assert "# a comment" not in ours


def test_facts_tell_models_apart():
    """The comparison above sees each part of a graph."""
    base = parser.parse_model(HEAD + TEXTS["graphs"])
    for change in (
        lambda g: g.node[0].attribute[0].g.node[0].input.__setitem__(0, "c"),
        lambda g: setattr(g.node[0], "domain", "d"),
        lambda g: g.node[0].attribute[0].g.initializer[0].float_data.__setitem__(0, 2.0),
        lambda g: g.input[0].type.tensor_type.shape.dim.add(),
        lambda g: g.node[0].attribute[0].g.value_info.pop(),
    ):
        other = GraphProto()
        other.CopyFrom(base.graph)
        change(other)
        assert graph_facts(other) != graph_facts(base.graph)
