"""src/ops/schema.inc is current, and what the C tables say is what the onnx package says.

The first test runs the generator again. The others do not trust it: they compile schema.c with a program that
prints every fact, and compare that with facts taken from the package in another way.
"""

import pathlib
import re
import shutil
import struct
import subprocess
import sys

import pytest
from onnx import TensorProto, defs

ROOT = pathlib.Path(__file__).resolve().parents[2]
# ifd_schema_kind, in order; a type string is one of these around a dtype.
KINDS = [
    r"tensor\((\w+)\)",
    r"sparse_tensor\((\w+)\)",
    r"seq\(tensor\((\w+)\)\)",
    r"optional\(tensor\((\w+)\)\)",
    r"optional\(seq\(tensor\((\w+)\)\)\)",
    r"map\(int64, (\w+)\)",
    r"map\(string, (\w+)\)",
    r"seq\(map\(int64, (\w+)\)\)",
    r"seq\(map\(string, (\w+)\)\)",
]


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def type_code(text):
    kind, match = next((k, m) for k, m in enumerate(re.fullmatch(p, text) for p in KINDS) if m)
    return kind, TensorProto.DataType.Value(match[1].upper())


def types_text(types):
    return "".join(f" {kind}:{dtype}" for kind, dtype in sorted(map(type_code, types)))


def param_text(side, p, constraints):
    # p.types would do, were it not empty for maps.
    types = constraints.get(p.type_str, [p.type_str])
    words = [side, p.name, p.type_str, p.type_str, p.option.name, int(p.is_homogeneous), p.min_arity]
    return " ".join(map(str, words)) + types_text(types)


def value_text(value):
    if isinstance(value, float):
        return " " + struct.pack(">f", value).hex()
    return f" '{value.decode()}'" if isinstance(value, bytes) else f" {value}"


def attr_text(name, a):
    has_default = a.default_value.HasField("type")
    text = f"attr {name} {int(a.type.value)} required={int(a.required)} default={int(has_default)}"
    for field, value in a.default_value.ListFields() if has_default else []:
        if field.name not in ("name", "type", "doc_string"):
            text += "".join(map(value_text, value if field.is_repeated else [value]))
    return text


def schema_lines(s):
    latest = defs.C.schema_version_map()[s.domain][1]
    function = int(s.has_function or s.has_context_dependent_function)
    yield (
        f"schema '{s.domain}' {s.name} {s.since_version} deprecated={int(s.deprecated)} function={function}"
        f" inputs {s.min_input} {s.max_input} outputs {s.min_output} {s.max_output} latest {latest}"
    )
    constraints = {c.type_param_str: c.allowed_type_strs for c in s.type_constraints}
    yield from (param_text("in", p, constraints) for p in s.inputs)
    yield from (param_text("out", p, constraints) for p in s.outputs)
    yield from (attr_text(*item) for item in sorted(s.attributes.items()))
    yield from (f"constraint {name}{types_text(types)}" for name, types in constraints.items())


def by_schema(lines):
    facts = {}
    for line in lines:
        if line.startswith("schema "):
            facts[" ".join(line.split()[1:4])] = current = []
        current.append(line)
    return facts


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    program = tmp_path_factory.mktemp("schema") / "dump_schema"
    compiler = shutil.which("cc")
    assert compiler, "no C compiler"
    sources = [ROOT / "src/ops/schema.c", ROOT / "tests/ops/dump_schema.c"]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'src'}"]
    run(compiler, *flags, *sources, "-o", program)
    return by_schema(run(program).splitlines())


@pytest.fixture(scope="module")
def expected():
    return by_schema(line for s in defs.get_all_schemas_with_history() for line in schema_lines(s))


def test_the_table_is_current(tmp_path):
    fresh = tmp_path / "schema.inc"
    run(sys.executable, ROOT / "tools/extract_schema.py", "-o", fresh)
    assert fresh.read_bytes() == (ROOT / "src/ops/schema.inc").read_bytes(), "run tools/extract_schema.py"


def test_all_schemas_and_no_others(dumped, expected):
    assert len(expected) == len(defs.get_all_schemas_with_history()) >= 659
    assert dumped.keys() == expected.keys()


def test_every_fact(dumped, expected):
    wrong = {name: (dumped[name], facts) for name, facts in expected.items() if dumped.get(name) != facts}
    assert wrong == {}


def test_the_table_is_sorted(dumped):
    keys = [line[0].split()[1:4] for line in dumped.values()]
    keys = [(domain.encode(), name.encode(), int(version)) for domain, name, version in keys]
    assert keys == sorted(keys)
