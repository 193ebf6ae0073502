"""What is loaded and saved again is the same ModelProto.

Runs test_roundtrip_tool over the models of this repository and those of ONNX's test cases, and over those below the
folders that the environment variables INFOLD_SHARED_MODELS (model.onnx files of any depth) and INFOLD_BAD_INPUTS
(malformed ones, which must be refused or copied, no more) name.
"""

import os
import pathlib
import shutil
import sys

import numpy as np
import onnx
import pytest
import tool
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

ROOT = tool.ROOT
sys.path.insert(0, str(ROOT / "tests/ops/conformance"))
import cases  # noqa: E402


def copy(jobs):
    """Answers of the tool to (source, target, external data or None)."""
    return tool.answers("roundtrip", jobs)


def models_below(folder):
    return sorted(p for p in pathlib.Path(folder).rglob("*.onnx") if p.is_file())


def folder_of(variable):
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set")
    return os.environ[variable]


def parse(path):
    return onnx.load(path, load_external_data=False)


def tensors(model):
    return list(onnx.external_data_helper._get_all_tensors(model))


def is_external(model):
    return any(map(uses_external_data, tensors(model)))


def resolved(path):
    """The model with its external data put into it."""
    model = parse(path)
    load_external_data_for_model(model, str(path.parent))
    for t in tensors(model):
        t.ClearField("data_location")  # which loading sets to its default
    return model.SerializeToString(deterministic=True)


def check_copies(sources, folder):
    """Copies beside each other in one folder; models with external data keep it only in their own."""
    targets = [folder / f"{i}.onnx" for i in range(len(sources))]
    for source, target, answer in zip(sources, targets, copy(zip(sources, targets))):
        assert answer == "ok", source
        if is_external(parse(source)):
            assert resolved(source) == resolved(target), source
        else:
            a, b = parse(source), parse(target)
            assert a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True), source
    for file in folder.iterdir():
        file.unlink()


def check_all(sources, folder):
    assert sources
    for i in range(0, len(sources), 20):  # few at a time: the copies are large
        check_copies(sources[i : i + 20], folder)


def test_models_of_the_repository(tmp_path):
    check_all(models_below(ROOT / "models"), tmp_path)


def test_shared_models(tmp_path):
    check_all(models_below(folder_of("INFOLD_SHARED_MODELS")), tmp_path)


def test_onnx_cases(tmp_path):
    cases.write_all(tmp_path / "cases")
    (tmp_path / "copies").mkdir()
    check_all(models_below(tmp_path / "cases"), tmp_path / "copies")


def test_bad_inputs(tmp_path):
    sources = models_below(folder_of("INFOLD_BAD_INPUTS"))
    answers = copy((s, tmp_path / "copy.onnx") for s in sources)
    assert len(answers) == len(sources)
    assert all(0 < len(a) < 2000 and a.isprintable() for a in answers)
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("copy.onnx", "copy.onnx.data")] == []


def test_equal_bytes(tmp_path):
    source = ROOT / "models" / "digits.onnx"
    assert copy([(source, tmp_path / "a"), (source, tmp_path / "b")]) == ["ok", "ok"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- odd but valid models ----


def value(name, shape=None, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def add_model(tensor, ir=8):
    g = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [value("x", ["N", 4])], [value("y")], [tensor])
    return helper.make_model(g, ir_version=ir, opset_imports=[helper.make_opsetid("", 17)])


def rich_model():
    """Fields that infold does not interpret, and ones whose presence differs from their value."""
    m = add_model(numpy_helper.from_array(np.arange(4, dtype=np.float32), "w"))
    g = m.graph
    g.value_info.append(value("nowhere", [3]))
    g.value_info.append(value("y", ["N", 4]))
    g.node[0].doc_string = "adds"
    g.node[0].name = ""  # present, empty
    g.node[0].metadata_props.add(key="k", value="v")
    g.metadata_props.add(key="graph", value="\u00e9")
    g.doc_string = ""
    a = g.quantization_annotation.add(tensor_name="x")
    a.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    m.metadata_props.add(key="a", value="b")
    m.model_version = 0
    m.opset_import.append(helper.make_opsetid("com.example", 3))
    m.training_info.add().algorithm.name = "train"
    m.configuration.add(name="two", num_devices=2)
    return m


def with_unknown_fields(m):
    raw = m.SerializeToString()
    node = m.graph.node[0].SerializeToString()
    extra = bytes([0xA2, 0x1F, 3]) + b"abc" + bytes([0xA8, 0x1F, 7])  # fields 500 and 501
    assert raw.count(node) == 1 and len(node) < 100
    graph = m.graph.SerializeToString().replace(bytes([len(node)]) + node, bytes([len(node) + len(extra)]) + node + extra)
    rest = onnx.ModelProto()
    rest.CopyFrom(m)
    rest.ClearField("graph")
    n, size = len(graph), b""
    while True:
        size += bytes([n & 127 | (128 if n > 127 else 0)])
        n >>= 7
        if not n:
            return rest.SerializeToString() + b"\x3a" + size + graph + extra


def nan_model():
    return add_model(helper.make_tensor("w", TensorProto.FLOAT, [4], [float("nan"), -0.0, float("inf"), 1e-45]))


def typed_models():
    """One initializer of each element type, as raw_data and in its array."""
    for dtype in TensorProto.DataType.values():
        if dtype in (TensorProto.UNDEFINED,):
            continue
        if dtype == TensorProto.STRING:
            tensor = helper.make_tensor("w", dtype, [3], [b"a", b"", b"\xff\x00b"])
            yield dtype, tensor
            continue
        ones = np.ones(3, helper.tensor_dtype_to_np_dtype(dtype))
        yield dtype, numpy_helper.from_array(ones, "w")
        yield dtype, helper.make_tensor("w", dtype, [3], ones)


def identity_model(dtype, tensor):
    g = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [value("y", None, dtype)], [tensor])
    return helper.make_model(g, ir_version=14, opset_imports=[helper.make_opsetid("", 25)])


def odd_models():
    yield "rich", rich_model().SerializeToString()
    yield "unknown fields", with_unknown_fields(rich_model())
    yield "nan", nan_model().SerializeToString()
    for i, (dtype, tensor) in enumerate(typed_models()):
        yield f"{TensorProto.DataType.Name(dtype)} {i}", identity_model(dtype, tensor).SerializeToString()


@pytest.mark.parametrize("name, raw", [pytest.param(n, r, id=n) for n, r in odd_models()])
def test_odd_models(name, raw, tmp_path):
    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    source.write_bytes(raw)
    assert copy([(source, target)]) == ["ok"]
    assert parse(source).SerializeToString(deterministic=True) == parse(target).SerializeToString(deterministic=True)
    assert parse(source).SerializeToString(deterministic=True).count(b"abc") == raw.count(b"abc")


# ---- external data ----


@pytest.fixture
def weights():
    rng = np.random.default_rng(1)
    return [numpy_helper.from_array(rng.random(n, np.float32), f"w{n}") for n in (4, 255, 256, 3000)]


@pytest.fixture
def plain(tmp_path, weights):
    nodes = [helper.make_node("Identity", [w.name], ["y_" + w.name]) for w in weights]
    outputs = [value("y_" + w.name, w.dims) for w in weights]
    m = helper.make_model(helper.make_graph(nodes, "g", [], outputs, weights), ir_version=8)
    path = tmp_path / "plain.onnx"
    onnx.save(m, path)
    return path


def entries(path):
    return {t.name: {e.key: e.value for e in t.external_data} for t in parse(path).graph.initializer}


def test_external_data_on_demand(tmp_path, plain):
    target = tmp_path / "out.onnx"
    assert copy([(plain, target, "w.bin")]) == ["ok"]
    found = entries(target)
    assert [bool(found[n]) for n in ("w4", "w255", "w256", "w3000")] == [False, False, True, True]
    assert found["w256"] == {"location": "w.bin", "offset": "0", "length": "1024"}
    assert found["w3000"] == {"location": "w.bin", "offset": "4096", "length": "12000"}
    assert resolved(target) == resolved(plain)
    onnx.checker.check_model(str(target))


def test_external_data_stays_in_its_folder(tmp_path, plain):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    assert copy([(plain, first, "w.bin"), (first, second)]) == ["ok", "ok"]
    assert first.read_bytes() == second.read_bytes()


def test_external_data_follows_to_another_folder(tmp_path, plain):
    first, other = tmp_path / "first.onnx", tmp_path / "other" / "model.onnx"
    other.parent.mkdir()
    assert copy([(plain, first, "w.bin"), (first, other)]) == ["ok", "ok"]
    assert sorted(p.name for p in other.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    shutil.move(tmp_path / "w.bin", tmp_path / "gone")
    assert resolved(other) == resolved(plain)


def test_external_data_replaces_its_source(tmp_path, plain):
    target = tmp_path / "out.onnx"
    assert copy([(plain, target, "w.bin"), (target, target, "w.bin")]) == ["ok", "ok"]
    assert resolved(target) == resolved(plain)


@pytest.mark.parametrize("location", ["../w.bin", "/tmp/w.bin", "a/../../w.bin", "out.onnx", "a//b"])
def test_external_data_is_confined(tmp_path, plain, location):
    (answer,) = copy([(plain, tmp_path / "out.onnx", location)])
    assert "external data" in answer
    assert not (tmp_path / "out.onnx").exists()
