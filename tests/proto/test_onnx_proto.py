"""proto/onnx.proto says what the onnx package's own descriptors say: message by message, field by field."""

import pathlib
import shutil
import subprocess

import pytest
from google.protobuf import descriptor_pb2
from onnx import onnx_data_pb2, onnx_ml_pb2, onnx_operators_ml_pb2

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto" / "onnx.proto"
F = descriptor_pb2.FieldDescriptorProto


def field_facts(field, oneofs):
    return {
        "number": field.number,
        "label": F.Label.Name(field.label),
        "type": F.Type.Name(field.type),
        "type_name": field.type_name,
        "default": field.default_value if field.HasField("default_value") else None,
        "packed": field.options.packed,
        "oneof": oneofs[field.oneof_index].name if field.HasField("oneof_index") else None,
    }


def enum_facts(enum):
    # In proto2 the first value is the default of a field that names none, so it is a fact too.
    return {"values": {v.name: v.number for v in enum.value}, "first": enum.value[0].name}


def message_facts(message, path, out):
    path = f"{path}.{message.name}"
    facts = {f"field {f.name}": field_facts(f, message.oneof_decl) for f in message.field}
    facts["extensions"] = len(message.extension) + len(message.extension_range)
    facts["reserved numbers"] = {n for r in message.reserved_range for n in range(r.start, r.end)}
    facts["reserved names"] = set(message.reserved_name)
    out[f"message {path}"] = facts
    out.update((f"enum {path}.{e.name}", enum_facts(e)) for e in message.enum_type)
    for nested in message.nested_type:
        message_facts(nested, path, out)


def all_facts(files):
    out = {}
    for file in files:
        assert file.package == "onnx"
        assert file.syntax in ("", "proto2")
        out.update((f"enum .onnx.{e.name}", enum_facts(e)) for e in file.enum_type)
        for message in file.message_type:
            message_facts(message, ".onnx", out)
    return out


def theirs():
    for module in (onnx_ml_pb2, onnx_data_pb2, onnx_operators_ml_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        yield file


def ours(folder):
    """Compiled with protoc-c, the compiler of the build; where its package has none, with protoc."""
    compiler = shutil.which("protoc-c") or shutil.which("protoc")
    assert compiler, "neither protoc-c nor protoc is installed"
    out = folder / "onnx.desc"
    command = [compiler, f"--proto_path={PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return all_facts(ours(tmp_path_factory.mktemp("proto"))), all_facts(theirs())


def test_the_same_messages_and_enums(facts):
    mine, onnx = facts
    assert len(onnx) >= 40, "the walk over the package's descriptors found next to nothing"
    assert mine.keys() == onnx.keys()


@pytest.mark.parametrize("name", sorted(all_facts(theirs())))
def test_the_same_facts(facts, name):
    mine, onnx = facts
    assert mine[name] == onnx[name]


def test_protoc_c_generates_without_warnings(tmp_path):
    compiler = shutil.which("protoc-c")
    assert compiler, "protoc-c is not installed"
    command = [compiler, f"--proto_path={PROTO.parent}", f"--c_out={tmp_path}", PROTO.name]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "onnx.pb-c.h").stat().st_size > 0
