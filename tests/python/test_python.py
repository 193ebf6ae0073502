"""The Python package: sessions, element types, other values than tensors, errors, pickling, threads."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
import infold  # noqa: E402
from infold import _header, _library, _types  # noqa: E402

MODELS = ROOT / "models"


def session(text, **options):
    return infold.Session(onnx.parser.parse_model(f'<ir_version: 11, opset_import: ["" : 23]>\n{text}').SerializeToString(),
                          **options)


def of_model(name, **options):
    return infold.Session(MODELS / name / "model.onnx", **options), dict(np.load(MODELS / name / "inputs.npz"))


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- the library ----


def test_every_function_of_the_header_is_declared_and_there():
    header = (ROOT / "include/infold/infold.h").read_text()
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    names = set(re.findall(r"^INFOLD_API[^;(]*?\b(infold_\w+)\(", header, re.M))
    assert len(names) > 50 and names == set(re.findall(r"\binfold_\w+(?=\()", header))
    for name in names:
        assert getattr(_library.lib, name), name


def test_element_types_are_those_of_onnx():
    for number, _, name, _ in _types.ELEMENTS:
        if number <= onnx.TensorProto.INT2:
            assert _types.DTYPES[number] == onnx.helper.tensor_dtype_to_np_dtype(number), name


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", infold.__version__)


def test_another_library(tmp_path):
    code = "import infold"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "python", capture_output=True, text=True,
                          env={"INFOLD_LIBRARY": str(tmp_path / "none.so")})
    assert done.returncode and "ImportError" in done.stderr and "none.so" in done.stderr


def test_header_read_beforehand(tmp_path):
    """As an installed package has it: no process parses infold.h."""
    shutil.copytree(ROOT / "python/infold", tmp_path / "infold", symlinks=False)
    _header.write(str(tmp_path / "infold/_ffi.py"))
    (tmp_path / "infold/_header.py").write_text("raise AssertionError")
    code = f"""if True:
        import infold, numpy, sys
        s = infold.Session({str(MODELS / "bn_edges/model.onnx")!r}, threads=1, cpu="avx2")
        feeds = dict(numpy.load({str(MODELS / "bn_edges/inputs.npz")!r}))
        numpy.savez("out.npz", *s.run(None, feeds))
        assert "pycparser" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True,
                   env={"INFOLD_LIBRARY": _library.places()[0]})
    s, feeds = of_model("bn_edges", cpu="avx2")
    for want, got in zip(s.run(None, feeds), np.load(tmp_path / "out.npz").values()):
        assert same(want, got)


# ---- sessions ----


@pytest.mark.parametrize("name", ["lstm_tagger", "unet", "bn_edges", "residual_net"])
def test_models(name):
    s, feeds = of_model(name)
    expected = np.load(MODELS / name / "ref.npz")
    outputs = s.run(None, feeds)
    assert [v.name for v in s.outputs] == expected.files
    for value, got in zip(s.outputs, outputs):
        np.testing.assert_allclose(got, expected[value.name], rtol=1e-3, atol=1e-4)
        assert value.type.startswith(next(t for n, t, numpy, _ in _types.ELEMENTS if _types.DTYPES[n] == got.dtype))


def test_what_it_says():
    s = session("""g (float[N,3,H,7] x, float scalar, float[] any, seq(float[N]) list, optional(int64[2]) maybe)
                => (float[N,3,H,7] y) { y = Identity(x) }""")
    assert [(v.name, v.type, v.shape) for v in s.inputs] == [
        ("x", "float[N,3,H,7]", ("N", 3, "H", 7)),
        ("scalar", "float", ()),
        ("any", "float[]", None),
        ("list", "seq(float[N])", None),
        ("maybe", "optional(int64[2])", None),
    ]
    assert s.outputs[0].name == "y"
    assert repr(session("g (float[N,2] x) => (float[N,2] y) { y = Neg(x) }")) == (
        "<infold.Session: x float[N,2] → y float[N,2]>")


def test_outputs_by_name():
    s, feeds = of_model("lstm_tagger")
    scores, tags, h, c = s.run(None, feeds)
    for names in (["tags"], ["last_c", "scores"], ["tags", "tags"], []):
        got = s.run(names, feeds)
        every = {"scores": scores, "tags": tags, "last_h": h, "last_c": c}
        assert len(got) == len(names) and all(same(g, every[n]) for g, n in zip(got, names))


def test_bytes_path_and_text_are_the_same():
    path = MODELS / "residual_net/model.onnx"
    feeds = dict(np.load(path.parent / "inputs.npz"))
    sessions = [infold.Session(m) for m in (path, str(path), path.read_bytes())]
    first, *others = [s.run(None, feeds)[0] for s in sessions]
    assert all(same(first, o) for o in others)


def test_options():
    s, feeds = of_model("residual_net")
    usual = s.run(None, feeds)
    for options in ({"threads": 1}, {"threads": 3}, {"cpu": "ref"}):
        assert all(same(a, b) for a, b in zip(usual, of_model("residual_net", **options)[0].run(None, feeds)))
    assert of_model("residual_net", float64=True)[0].run(None, feeds)[0].dtype == np.float64
    with pytest.raises(TypeError):
        of_model("residual_net", thread=1)


def test_results_outlive_their_session_and_are_apart():
    s = session("g (float[2] x) => (float[2] y, float[2] c) <float[2] c0 = {1, 2}> { y = Identity(x) c = Identity(c0) }")
    x = np.array([3, 4], np.float32)
    y, c = s.run(None, {"x": x})
    y[:] = c[:] = 9
    assert x.tolist() == [3, 4]
    again = s.run(None, {"x": x})
    del s
    assert [a.tolist() for a in again] == [[3, 4], [1, 2]]


def test_inputs_lie_as_they_like():
    s = session("g (float[2,3] x) => (float[2,3] y) { y = Neg(x) }")
    wanted = -np.arange(6, dtype=np.float32).reshape(2, 3)
    plain = -wanted
    read_only = plain.copy()
    read_only.flags.writeable = False
    odd = np.frombuffer(b"\0" + plain.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3)
    for x in (plain, np.asfortranarray(plain), np.repeat(plain, 2, 1)[:, ::2], plain.astype(">f4"), read_only, odd,
              plain.tolist()):
        assert same(s.run(None, {"x": x})[0], wanted)


def test_defaults_may_be_left_out():
    s = session("g (float[2] x, float[2] b = {1, 2}) => (float[2] y) { y = Add(x, b) }")
    x = np.zeros(2, np.float32)
    assert s.run(None, {"x": x})[0].tolist() == [1, 2]
    assert s.run(None, {"x": x, "b": x})[0].tolist() == [0, 0]


# ---- element types ----

PLAIN = ["float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "int32", "int64", "uint32", "uint64", "bool",
         "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
         "uint4", "int4", "uint2", "int2", "float4_e2m1fn"]


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
@pytest.mark.parametrize("name", PLAIN)
def test_element_types(name, shape):
    number = next(n for n, _, numpy, _ in _types.ELEMENTS if numpy == name)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value("x", number, shape)],
                                   [value("y", number, shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 25)])
    s = infold.Session(model.SerializeToString())
    x = np.arange(-3, 3)[: int(np.prod(shape))].reshape(shape).astype(_types.DTYPES[number])
    y, = s.run(None, {"x": x})
    assert y.dtype == x.dtype and y.shape == shape
    np.testing.assert_array_equal(y.astype(np.complex128), x.astype(np.complex128))


def test_strings():
    s = session("g (string[N] x) => (string[N] y) { y = Identity(x) }")
    for x in (["a", "", "żółw 🐢"], np.array(["a", "", "żółw 🐢"]), np.array(["a", "", "żółw 🐢"], object)):
        y, = s.run(None, {"x": x})
        assert y.dtype == object and y.tolist() == ["a", "", "żółw 🐢"]
    for none in [], np.empty((0,), object):
        assert s.run(None, {"x": none})[0].shape == (0,)
    y, = s.run(None, {"x": np.array([b"a", b"\xff"], object)})
    assert y.tolist() == ["a", "\udcff"]
    with pytest.raises(infold.Error, match="NUL"):
        s.run(None, {"x": ["a\0b"]})
    data = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
      g (string[N] x) => (string[M] y) <string[2] c = {"b", "c"}> { y = Concat <axis = 0> (x, c) }""")
    data.graph.initializer[0].string_data[0] = b"b\0b"
    y, = infold.Session(data.SerializeToString()).run(None, {"x": ["a"]})
    assert y.tolist() == ["a", "b\0b", "c"]


def test_numbers_of_python():
    s = session("g (int64[N] i, float16[N] h, string[M] none) => (int64[N] a, float16[N] b, string[M] c) "
                "{ a = Neg(i) b = Neg(h) c = Identity(none) }")
    a, b, c = s.run(None, {"i": [1, True], "h": [1, 2.5], "none": []})
    assert a.tolist() == [-1, -1] and b.tolist() == [-1, -2.5] and c.shape == (0,)
    with pytest.raises(infold.Error, match="type double; the model has int64"):
        s.run(None, {"i": [1, 2.5], "h": [1, 2], "none": []})


def test_without_ml_dtypes_elements_are_their_bits():
    code = """if True:
        import sys
        sys.modules["ml_dtypes"] = None
        import infold, numpy as np
        y, = infold.Session(sys.stdin.buffer.read()).run(None, {"x": np.array([0x3f80, 0xc000], np.uint16)})
        assert y.dtype == np.uint16, y.dtype
        print([hex(i) for i in y])"""
    text = '<ir_version: 11, opset_import: ["" : 23]> g (bfloat16[2] x) => (bfloat16[2] y) { y = Neg(x) }'
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "python", capture_output=True, check=True,
                          input=onnx.parser.parse_model(text).SerializeToString())
    assert done.stdout == b"['0xbf80', '0x4000']\n"


# ---- sequences, optionals, maps ----


def test_sequences():
    s = session("""g (seq(float[K]) list, int64 at) => (seq(float[K]) longer, float[K] one, int64 n)
                { one = SequenceAt(list, at) longer = SequenceInsert(list, one) n = SequenceLength(list) }""")
    items = [np.arange(n, dtype=np.float32) for n in (2, 0, 3)]
    longer, one, n = s.run(None, {"list": items, "at": 2})
    assert [x.tolist() for x in longer] == [[0, 1], [], [0, 1, 2], [0, 1, 2]] and one.tolist() == [0, 1, 2] and n == 3
    assert s.run(["n"], {"list": iter(items), "at": 0})[0] == 3
    with pytest.raises(infold.Error, match="other types") as e:
        s.run(None, {"list": [np.zeros(1)], "at": 0})
    assert e.value.status == "BAD_INPUT"


def test_an_empty_sequence():
    s = session("g (seq(float[K]) list) => (seq(float[K]) same, int64 n) { same = Identity(list) n = SequenceLength(list) }")
    same, n = s.run(None, {"list": []})
    assert same == [] and n == 0


def test_optionals():
    s = session("g (optional(float[2]) maybe) => (optional(float[2]) same, bool has) "
                "{ same = Identity(maybe) has = OptionalHasElement(maybe) }")
    same, has = s.run(None, {"maybe": np.array([1, 2], np.float32)})
    assert same.tolist() == [1, 2] and has
    for feeds in ({"maybe": None}, {}):
        same, has = s.run(None, feeds)
        assert same is None and not has


def test_an_optional_sequence():
    s = session("g (optional(seq(float[K])) maybe) => (seq(float[K]) list) { list = OptionalGetElement(maybe) }")
    for items in ([], [np.ones(2, np.float32)]):
        assert [x.tolist() for x in s.run(None, {"maybe": items})[0]] == [x.tolist() for x in items]


def test_what_is_no_map_or_sequence():
    s = session("g (seq(float[K]) list) => (int64 n) { n = SequenceLength(list) }")
    with pytest.raises(infold.Error, match="input 'list': .*not iterable"):
        s.run(None, {"list": 5})


def test_maps():
    text = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
      g (float[N,2] x) => (seq(map(string, float)) m) { m = ai.onnx.ml.ZipMap <classlabels_strings = ["no", "yes"]> (x) }"""
    s = infold.Session(onnx.parser.parse_model(text).SerializeToString())
    assert s.run(None, {"x": np.array([[1, 2], [3, 4]], np.float32)})[0] == [{"no": 1, "yes": 2}, {"no": 3, "yes": 4}]
    helper = onnx.helper
    map_type = helper.make_map_type_proto(onnx.TensorProto.STRING, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, []))
    graph = helper.make_graph(
        [helper.make_node("DictVectorizer", ["m"], ["y"], domain="ai.onnx.ml", string_vocabulary=["yes", "none", "no"])],
        "g", [helper.make_value_info("m", map_type)], [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    s = infold.Session(helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString())
    assert s.run(None, {"m": {"no": 5.0, "yes": 7.0}})[0].tolist() == [7, 0, 5]
    with pytest.raises(infold.Error, match="input 'm': a dictionary is needed, not list"):
        s.run(None, {"m": [("no", 5.0)]})


# ---- errors ----


@pytest.mark.parametrize("feeds, status, words", [
    ({}, "BAD_INPUT", "input 'x' .* is missing"),
    ({"x": np.zeros((2, 4), np.float32)}, "BAD_INPUT", "dimension 1 is 4"),
    ({"x": np.zeros(3, np.float32)}, "BAD_INPUT", "has rank 1"),
    ({"x": np.zeros((2, 3))}, "BAD_INPUT", "type double; the model has float"),
    ({"x": np.zeros((2, 3), "M8[s]")}, "BAD_INPUT", "datetime64"),
    ({"x": ["a"]}, "BAD_INPUT", "type string"),
    ({"x": None}, "BAD_INPUT", "input 'x': None is no tensor"),
    ({"x": [[None, 1, 2]]}, "BAD_INPUT", "input 'x': arrays of object"),
    ({"x": [[1], [2, 3]]}, "BAD_INPUT", "input 'x': .*inhomogeneous"),
    ({"x": np.zeros((1,) * 40, np.float32)}, "USAGE", "input 'x': rank 40"),
    ({"x": np.zeros((2, 3), ml_dtypes.bfloat16)}, "BAD_INPUT", "type bfloat16"),
    ({"x": np.float32(1)}, "BAD_INPUT", "has rank 0"),
    ({"x": [[1j, 2, 3]]}, "BAD_INPUT", "type complex128"),
    ({"x": np.zeros((2, 3), np.float32), "z": 1}, "USAGE", "no input 'z'; it has x"),
])
def test_inputs_that_do_not_fit(feeds, status, words):
    s = session("g (float[N,3] x) => (float[N,3] y) { y = Neg(x) }")
    with pytest.raises(infold.Error, match=words) as e:
        s.run(None, feeds)
    assert e.value.status == status


def test_outputs_that_there_are_not():
    s, feeds = of_model("lstm_tagger")
    with pytest.raises(infold.Error, match="no output 'tag'; it has scores, tags") as e:
        s.run(["tag"], feeds)
    assert e.value.status == "USAGE"


@pytest.mark.parametrize("arguments, words", [
    (({"x": []},), "output_names: a list of names is needed, not dict"),
    (("y", {"x": []}), "output_names: .*, not str"),
    ((None, [1]), "feeds: a dictionary .*, not list"),
    ((None, np.zeros((2, 3), np.float32)), "feeds: .*, not ndarray"),
])
def test_arguments_of_other_kinds(arguments, words):
    s = session("g (float[N,3] x) => (float[N,3] y) { y = Neg(x) }")
    with pytest.raises(TypeError, match=words):
        s.run(*arguments)


@pytest.mark.parametrize("options, error, words", [
    (dict(threads="2"), TypeError, "threads: an integer"),
    (dict(threads=None), TypeError, "threads: an integer"),
    (dict(threads=-1), infold.Error, "threads are 0 to 4096, not -1"),
    (dict(threads=2 ** 40), OverflowError, "threads: "),
    (dict(max_memory=-1), OverflowError, "max_memory: "),
    (dict(max_steps=-1), infold.Error, "max_steps is at least 0, not -1"),
    (dict(cpu="sse"), infold.Error, "'avx512', not 'sse'"),
    (dict(cpu=3), TypeError, "cpu: a text is needed, not int"),
    (dict(cpu="ref\0"), ValueError, "cpu: an embedded NUL"),
])
def test_options_that_make_no_sense(options, error, words):
    with pytest.raises(error, match=words):
        of_model("residual_net", **options)


def test_models_that_cannot_be_read(tmp_path):
    for model in (None, 5, bytearray(b"x"), onnx.ModelProto()):
        with pytest.raises(TypeError, match="a model is a path or bytes, not " + type(model).__name__):
            infold.Session(model)
    with pytest.raises(ValueError, match="NUL"):
        infold.Session(str(MODELS / "residual_net/model.onnx") + "\0x")
    for model, status in ((tmp_path / "none.onnx", "IO"), (b"no model", "BAD_FILE")):
        with pytest.raises(infold.Error) as e:
            infold.Session(model)
        assert e.value.status == status and str(e.value)
    copy = pickle.loads(pickle.dumps(e.value))
    assert (str(copy), copy.status) == (str(e.value), e.value.status)


# ---- pickling, threads ----


@pytest.mark.parametrize("read", [pathlib.Path, pathlib.Path.read_bytes])
def test_pickling(read):
    path = MODELS / "residual_net/model.onnx"
    s = infold.Session(read(path), threads=2, float64=True)
    feeds = dict(np.load(path.parent / "inputs.npz"))
    copy = pickle.loads(pickle.dumps(s))
    assert copy.inputs == s.inputs and copy._state == s._state
    assert same(copy.run(None, feeds)[0], s.run(None, feeds)[0])


def test_threads():
    s, feeds = of_model("unet", threads=2)
    image = feeds["image"]
    batches = [np.roll(image, i, -1) for i in range(8)]
    alone = [s.run(None, {"image": b})[0] for b in batches]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda b: s.run(None, {"image": b})[0], batches * 4))
    assert all(same(a, b) for a, b in zip(alone * 4, together))


def test_sessions_share_threads():
    def n_threads():
        return len(os.listdir("/proc/self/task"))

    before = n_threads()
    sessions = [of_model("unet") for _ in range(4)]
    outputs = [s.run(None, feeds)[0] for s, feeds in sessions]
    assert n_threads() - before < max(2, len(os.sched_getaffinity(0)))
    assert all(same(outputs[0], o) for o in outputs)


def outputs_of_unet():
    s, feeds = of_model("unet")
    return s.run(None, feeds)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    here = outputs_of_unet()
    with multiprocessing.get_context("fork").Pool(1) as children:
        assert same(children.apply_async(outputs_of_unet).get(60), here)
