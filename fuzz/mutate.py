"""Mutates models and runs every command on them: each must end in a result or one clear error.

usage: mutate.py --bin COMMAND [--seconds N | --models N] [--seed N] [--out FOLDER]

Models are those of models/ and the node cases of the onnx package, with inputs. What crashes, hangs, fails without a word
or makes a sanitizer speak is kept in FOLDER (build/fuzz), with its command and message. Exits with 1 if anything was.
The same seed makes the same models."""

import argparse
import itertools
import os
import pathlib
import random
import re
import subprocess
import sys
import time

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.backend.test import loader

ROOT = pathlib.Path(__file__).resolve().parents[1]
LARGEST = 300_000  # bytes of a model that is mutated
TIMEOUT = 30  # seconds of a command
MEMORY = ["--max-memory", "256M"]
RUN = ["run", *MEMORY]
OPTIMIZE = ["optimize", *MEMORY, "-o", "out.onnx"]
COMMANDS = [[*RUN, "--threads", "1"], [*RUN, "--threads", "2"], [*RUN, "--backend", "ref"], OPTIMIZE, OPTIMIZE,
            [*OPTIMIZE, "--raise-opset", "24", "--bn-inference"], ["inspect", "--json"], ["doctor"]]
SPEAKS = re.compile(rb"(Address|Leak|UndefinedBehavior|Thread)Sanitizer|runtime error:")
INTEGERS = [0, 1, -1, 2, 3, 5, 7, -2, 16, 100, -100, 1000, 2**16, 2**31 - 1, 2**31, -2**31, 2**32, 2**40, 2**62, 2**63 - 1, -2**63]
FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-38, 1e38, float("inf"), float("-inf"), float("nan"), 0.5, 1e10, -1e10]
STRINGS = [b"", b"x", b"SAME_UPPER", b"VALID", b"linear", b"nearest", b"cubic", b"reflect", b"add", b"ij,jk->ik", b"\xff"]


def integer(rng):
    return rng.choice(INTEGERS) if rng.random() < 0.6 else rng.randint(-4, 20)


def change_list(rng, values, make):
    """One element anew, some more, fewer, or another order."""
    values = list(values)
    kind = rng.choice(["set", "set", "cut", "add", "shuffle"])
    if kind == "set" and values:
        values[rng.randrange(len(values))] = make(rng)
    elif kind == "cut":
        values = values[:rng.randrange(len(values) + 1)]
    elif kind == "add":
        values += [make(rng) for _ in range(rng.randint(1, 3))]
    else:
        rng.shuffle(values)
    return values


def change_tensor(rng, tensor):
    kind = rng.choice(["dim", "dim", "more", "fewer", "type", "value", "value"])
    if kind == "dim" and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = integer(rng)
    elif kind == "more":
        tensor.dims.append(rng.choice([1, 0, 2, -1]))
    elif kind == "fewer" and tensor.dims:
        del tensor.dims[-1]
    elif kind == "type":
        tensor.data_type = rng.randint(0, max(TensorProto.DataType.values()) + 1)
    elif kind == "value" and (tensor.raw_data or tensor.int64_data or tensor.float_data):
        change_value(rng, tensor)


def change_value(rng, tensor):
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError, KeyError):
        return  # an earlier mutation left no tensor
    if array.size and array.dtype.kind in "iuf":
        value = rng.choice(FLOATS) if array.dtype.kind == "f" else integer(rng)
        with np.errstate(all="ignore"):
            array.reshape(-1)[rng.randrange(array.size)] = np.array(value).astype(array.dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


LISTS = {AttributeProto.INTS: ("ints", integer), AttributeProto.FLOATS: ("floats", lambda rng: rng.choice(FLOATS)),
         AttributeProto.STRINGS: ("strings", lambda rng: rng.choice(STRINGS))}


def attribute(rng, model, graph):
    node = rng.choice(graph.node)
    if not node.attribute:
        return
    a = rng.choice(node.attribute)
    if rng.random() < 0.1:
        node.attribute.remove(a)
    elif a.type == AttributeProto.INT:
        a.i = integer(rng)
    elif a.type == AttributeProto.FLOAT:
        a.f = rng.choice(FLOATS)
    elif a.type == AttributeProto.STRING:
        a.s = rng.choice(STRINGS)
    elif a.type == AttributeProto.TENSOR:
        change_tensor(rng, a.t)
    elif a.type in LISTS:
        field, make = LISTS[a.type]
        values = change_list(rng, getattr(a, field), make)
        a.ClearField(field)
        getattr(a, field).extend(values)


def initializer(rng, model, graph):
    if graph.initializer:
        change_tensor(rng, rng.choice(graph.initializer))


def operands(rng, model, graph):
    node = rng.choice(graph.node)
    names = rng.choice([node.input, node.output])
    if names:
        kept = change_list(rng, names, lambda rng: rng.choice(["", names[0], "none"]))
        del names[:]
        names.extend(kept)


def operator(rng, model, graph):
    rng.choice(graph.node).op_type = rng.choice([s.name for s in onnx.defs.get_all_schemas()])


def opset(rng, model, graph):
    if model.opset_import:
        rng.choice(model.opset_import).version = rng.randint(1, onnx.defs.onnx_opset_version() + 1)


def declared_type(rng, model, graph):
    values = [v for v in itertools.chain(graph.input, graph.output, graph.value_info) if v.type.HasField("tensor_type")]
    if not values:
        return
    tensor = rng.choice(values).type.tensor_type
    dims = tensor.shape.dim
    kind = rng.choice(["type", "dim", "dim", "symbol", "more", "fewer", "none"])
    if kind == "type":
        tensor.elem_type = rng.randint(0, max(TensorProto.DataType.values()) + 1)
    elif kind == "none":
        tensor.ClearField("shape")
    elif kind == "more":
        dims.add().dim_value = integer(rng)
    elif dims and kind == "fewer":
        del dims[-1]
    elif dims and kind == "dim":
        rng.choice(dims).dim_value = integer(rng)
    elif dims:
        rng.choice(dims).dim_param = rng.choice("NABC")


MUTATIONS = [attribute, attribute, attribute, initializer, operands, operands, operator, opset, declared_type]


def graphs(graph):
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in itertools.chain([a.g] if a.type == AttributeProto.GRAPH else [], a.graphs):
                yield from graphs(inner)


def mutate(rng, model):
    for _ in range(rng.randint(1, 3)):
        graph = rng.choice(list(graphs(model.graph)))
        if graph.node:
            rng.choice(MUTATIONS)(rng, model, graph)


def sources():
    """(name, the bytes of a model, a file of inputs or None) in a fixed order."""
    for path in sorted(ROOT.glob("models/*/model.onnx")):
        inputs = path.with_name("inputs.npz")
        if path.stat().st_size <= LARGEST:
            yield path.parent.name, path.read_bytes(), inputs if inputs.exists() else None
    with np.errstate(all="ignore"):
        cases = loader.load_model_tests(kind="node")
    yield from ((case.name, case.model.SerializeToString(), None) for case in cases)


def offence(command, folder):
    """What is wrong with how the command answers, and what it said."""
    environment = {**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "hangs", b""
    said = done.stderr
    if SPEAKS.search(said):
        return "sanitizer", said
    if done.returncode < 0:
        return "crashes", said
    silent = done.returncode and not (said.strip() or done.stdout.strip())  # doctor finds faults: 1, and its report
    return ("says nothing", said) if silent else (None, said)


def words(rng, model, inputs):
    command = rng.choice(COMMANDS)
    given = []
    if command[0] == "run":
        free = [i.name for i in model.graph.input if i.name and not i.name.startswith("-") and "=" not in i.name]
        given = ["--inputs", str(inputs)] if inputs else [w for name in free for w in ("--input", f"{name}=random")]
    return [command[0], "model.onnx", *command[1:], *given]


def run(binary, seconds, n_models, seed, out):
    rng = random.Random(seed)
    known = list(sources())
    end = time.monotonic() + seconds if seconds else None
    found = n = 0
    while (end is None or time.monotonic() < end) and (not n_models or n < n_models):
        name, data, inputs = rng.choice(known)
        model = onnx.load_from_string(data)
        mutate(rng, model)
        (out / "model.onnx").write_bytes(model.SerializeToString())
        command = [str(binary), *words(rng, model, inputs)]
        what, said = offence(command, out)
        n += 1
        if what:
            found += 1
            kept = out / f"{seed}_{n}"
            kept.mkdir(exist_ok=True)
            (out / "model.onnx").rename(kept / "model.onnx")
            (kept / "said").write_bytes(" ".join(command).encode() + b"\n" + said)
            print(f"{kept}: {name}, {command[1]}: {what}", flush=True)
    return n, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--models", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/fuzz")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    n, found = run(a.bin.resolve(), a.seconds or (0 if a.models else 60), a.models, a.seed, a.out.resolve())
    print(f"{n} models, {found} offences")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
