"""Writes src/ops/schema.inc: the facts of every operator and version that the installed onnx package knows.

    python tools/extract_schema.py [-o FILE]

The output is C in the words that src/ops/schema.c defines, and depends on the package alone. Equal lists (of
parameters, attributes, type constraints) and equal type sets become one table, named after the first schema
that uses it.
"""

import argparse
import pathlib
import re
import struct

import onnx
from onnx import AttributeProto, TensorProto, defs

OUTPUT = pathlib.Path(__file__).resolve().parents[1] / "src" / "ops" / "schema.inc"
WIDTH = 108  # of 110: leaves room for the backslash of a macro
UNBOUNDED = 2**31 - 1
DTYPES = dict(TensorProto.DataType.items())
ATTR_TYPES = dict(AttributeProto.AttributeType.items())

# Type strings: the pattern, the word of schema.c. {} is the dtype in ONNX's spelling.
KINDS = [
    ("tensor({})", "TENSOR"),
    ("seq(tensor({}))", "SEQ"),
    ("optional(tensor({}))", "OPTIONAL_TENSOR"),
    ("optional(seq(tensor({})))", "OPTIONAL_SEQ"),
    ("map(int64, {})", "MAP_INT64"),
    ("map(string, {})", "MAP_STRING"),
    ("seq(map(int64, {}))", "SEQ_MAP_INT64"),
    ("seq(map(string, {}))", "SEQ_MAP_STRING"),
]
TYPES = {
    pattern.format(dtype.lower()): (kind, dtype)
    for pattern, kind in KINDS
    for dtype in DTYPES
    if dtype != "UNDEFINED"
}

# The field of AttributeProto that holds a default of the type.
FIELDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "FLOATS": "floats", "INTS": "ints", "STRINGS": "strings"}


def c_string(text):
    """A C string literal; what is not plain ASCII is written in octal."""
    text = text.encode() if isinstance(text, str) else text
    assert b"\0" not in text
    plain = (32 <= b < 127 and b not in b'"\\' for b in text)
    return '"' + "".join(chr(b) if p else f"\\{b:03o}" for b, p in zip(text, plain)) + '"'


def binary32(value):
    try:
        return struct.pack("<f", value)
    except OverflowError:  # past the largest one
        return None


def c_float(value):
    """The shortest decimal that reads back as the same binary32."""
    shortest_first = (f"{value:.{digits}g}" for digits in range(1, 10))
    text = next(t for t in shortest_first if binary32(float(t)) == binary32(value))
    assert re.fullmatch(r"-?[\d.]+(e[+-]\d+)?", text), f"no C literal for {value}"
    return (text if re.search(r"[.e]", text) else text + ".0") + "f"


def c_int(value):
    assert -(2**63) < value < 2**63
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"


C_VALUE = {"FLOAT": c_float, "INT": c_int, "STRING": c_string}


def fill(first, words, indent):
    """The words after `first`; what does not fit on that line goes on more that begin with `indent`."""
    lines, line = [], first
    for i, word in enumerate(words):
        space = " " if i else ""
        if i and len(line) + len(space) + len(word) > WIDTH:
            lines.append(line)
            line, space = indent, ""
        line += space + word
    return lines + [line]


def c_list(c_type, name, items):
    """A constant array: on one line if it fits."""
    line = f"static const {c_type} {name}[] = {{ {', '.join(items)} }};"
    if len(line) <= WIDTH:
        return [line]
    body = fill("  ", [f"{item}," for item in items], "  ")
    return [f"static const {c_type} {name}[] = {{", *body, "};"]


class Tables:
    """The shared tables of one kind: an equal content is written once, under the name of its first user."""

    def __init__(self, c_type):
        self.c_type = c_type
        self.names = {}
        self.lines = []

    def add(self, name, items):
        key = tuple(items)
        if key not in self.names:
            assert name not in self.names.values(), f"two tables would be called {name}"
            self.names[key] = name
            self.write(name, items)
        return self.names[key]

    def write(self, name, items):
        self.lines += c_list(self.c_type, name, items)


class TypeSets(Tables):
    def add(self, name, types):
        """`types`: type strings in any order."""
        kinds = {}
        for kind, dtype in sorted((TYPES[t] for t in types), key=lambda x: DTYPES[x[1]]):
            kinds.setdefault(kind, []).append(dtype)
        return super().add(name, [(kind, tuple(kinds[kind])) for _, kind in KINDS if kind in kinds])

    def write(self, name, items):
        start = f"static const {self.c_type} {name} = {{{{"
        line = start + ", ".join(f"{kind}({' | '.join(dtypes)})" for kind, dtypes in items) + "}};"
        if len(line) <= WIDTH:
            self.lines.append(line)
            return
        self.lines.append(start)
        for kind, dtypes in items:
            words = [f"{dtype} |" for dtype in dtypes[:-1]] + [f"{dtypes[-1]}),"]
            self.lines += fill(f"  {kind}(", words, "    ")
        self.lines.append("}};")


def c_param(param, constraints):
    """`constraints`: the schema's constraint names, in order."""
    if param.type_str in constraints:
        which = f"OF({constraints.index(param.type_str)})"
    else:
        kind, dtype = TYPES[param.type_str]
        assert kind == "TENSOR", f"a fixed type that is no tensor: {param.type_str}"
        which = f"ONLY({dtype})"
    text = f"{c_string(param.name)}, {c_string(param.type_str)}, {which}"
    option = param.option.name.upper()
    if option == "VARIADIC":
        return f"{'VARIADIC' if param.is_homogeneous else 'MIXED'}({text}, {param.min_arity})"
    assert param.is_homogeneous and param.min_arity == 1
    return f"{option}({text})"


def c_attr(attr):
    kind, name, default = attr.type.name, c_string(attr.name), attr.default_value
    if default.type == AttributeProto.UNDEFINED:
        return f"{'REQUIRED' if attr.required else 'FREE'}({name}, {kind})"
    assert not attr.required and AttributeProto.AttributeType.Name(default.type) == kind
    value = getattr(default, FIELDS[kind])
    values = value if kind.endswith("S") else [value]
    assert len(values) > 0, "an empty list as a default"
    return f"DEFAULT_{kind}({', '.join([name] + [C_VALUE[kind.rstrip('S')](v) for v in values])})"


def c_schema(schema, tables):
    """The row of a schema; its lists are added to the tables."""
    label = f"{schema.name}_{schema.since_version}"
    constraints = [c.type_param_str for c in schema.type_constraints]
    fields = [c_string(schema.domain), c_string(schema.name), str(schema.since_version)]
    for count in (schema.min_input, schema.max_input, schema.min_output, schema.max_output):
        fields.append("MANY" if count == UNBOUNDED else str(count))
    if schema.inputs:
        params = [c_param(p, constraints) for p in schema.inputs]
        fields.append(f"IN({tables['params'].add(f'in_{label}', params)})")
    if schema.outputs:
        params = [c_param(p, constraints) for p in schema.outputs]
        fields.append(f"OUT({tables['params'].add(f'out_{label}', params)})")
    if schema.attributes:
        attrs = [c_attr(a) for _, a in sorted(schema.attributes.items())]
        fields.append(f"ATTRS({tables['attrs'].add(f'attrs_{label}', attrs)})")
    if constraints:
        allowed = (c.allowed_type_strs for c in schema.type_constraints)
        sets = [tables["sets"].add(f"set_{label}_{c}", types) for c, types in zip(constraints, allowed)]
        rows = [f"{{{c_string(name)}, &{types}}}" for name, types in zip(constraints, sets)]
        fields.append(f"TYPES({tables['constraints'].add(f'types_{label}', rows)})")
    if schema.has_function or schema.has_context_dependent_function:
        fields.append("FUNCTION")
    if schema.deprecated:
        fields.append("DEPRECATED")
    return fill("  {", [f"{field}," for field in fields[:-1]] + [f"{fields[-1]}}},"], "   ")


def x_macro(name, values):
    """The names and numbers of a protobuf enum, without UNDEFINED."""
    by_number = sorted((number, value) for value, number in values.items() if number)
    items = [f"X({value}, {number})" for number, value in by_number]
    lines = [f"#define {name}(X)"] + fill("  ", items, "  ")
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def generate():
    schemas = defs.get_all_schemas_with_history()
    schemas.sort(key=lambda s: (s.domain.encode(), s.name.encode(), s.since_version))  # as strcmp has it
    tables = {
        "sets": TypeSets("ifd_type_set"),
        "constraints": Tables("ifd_schema_constraint"),
        "params": Tables("ifd_schema_param"),
        "attrs": Tables("ifd_schema_attr"),
    }
    rows = [line for schema in schemas for line in c_schema(schema, tables)]
    latest = {domain: last for domain, (_, last) in defs.C.schema_version_map().items()}
    domains = [f"{{{c_string(domain)}, {last}}}" for domain, last in sorted(latest.items())]
    sections = [
        [
            f"/* Written by tools/extract_schema.py from onnx {onnx.__version__}: do not edit, run it again.",
            " * schema.c defines the words. A table is named after the first schema that has it. */",
        ],
        [
            "/* TensorProto.DataType and AttributeProto.AttributeType: FLOAT is a bit of a type set,",
            " * DTYPE_FLOAT and ATTR_FLOAT are the numbers. */",
            *x_macro("SCHEMA_DTYPES", DTYPES),
            *x_macro("SCHEMA_ATTR_TYPES", ATTR_TYPES),
            "#define BIT(name, number) name = 1 << number,",
            "#define DTYPE(name, number) DTYPE_##name = number,",
            "#define ATTR_TYPE(name, number) ATTR_##name = number,",
            "enum { SCHEMA_DTYPES(BIT) };",
            "enum { SCHEMA_DTYPES(DTYPE) };",
            "enum { SCHEMA_ATTR_TYPES(ATTR_TYPE) };",
        ],
        ["/* Type sets. */", *tables["sets"].lines],
        ["/* Type constraints. */", *tables["constraints"].lines],
        ["/* Formal inputs and outputs. */", *tables["params"].lines],
        ["/* Attributes. */", *tables["attrs"].lines],
        [
            "/* Domain, name, since_version, least and most inputs, least and most outputs, tables. */",
            "static const ifd_schema schemas[] = {",
            *rows,
            "};",
        ],
        ["/* Newest opset versions. */", *c_list("domain_range", "domains", domains)],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=pathlib.Path, default=OUTPUT)
    parser.parse_args().output.write_text(generate(), encoding="ascii")


if __name__ == "__main__":
    main()
