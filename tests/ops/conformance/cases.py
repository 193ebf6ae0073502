"""ONNX's own test cases, which the package onnx carries, as folders KIND/NAME: model.onnx, data.json with tolerances, and
test_data_set_N with input_I.pb and output_I.pb."""

import json
import pathlib
import shutil

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.model import collect_testcases
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

KINDS = ["node", "simple", "pytorch-converted", "pytorch-operator", "real"]
TO_PROTO = {"sequence_type": numpy_helper.from_list, "optional_type": numpy_helper.from_optional,
            "map_type": numpy_helper.from_dict}


def every_case():
    """Some of kind `simple` are made, others lie in files: of one name, the file counts."""
    yield from (case for case in collect_testcases() if case.kind == "simple")
    for kind in KINDS:
        yield from load_model_tests(kind=kind)


def to_proto(value, info):
    if isinstance(value, TensorProto):
        return value
    make = TO_PROTO.get(info.type.WhichOneof("value"))
    return make(value, info.name) if make else numpy_helper.from_array(np.asarray(value), info.name)


def write_made(case, folder):
    folder.mkdir(parents=True)
    onnx.save(case.model, folder / "model.onnx")
    for n, data in enumerate(case.data_sets):
        (folder / f"test_data_set_{n}").mkdir()
        for kind, values, infos in zip(("input", "output"), data, (case.model.graph.input, case.model.graph.output)):
            for i, (value, info) in enumerate(zip(values, infos)):
                (folder / f"test_data_set_{n}/{kind}_{i}.pb").write_bytes(to_proto(value, info).SerializeToString())


def write_light(case, folder):
    """A model without weights to speak of: its outputs lie beside it, its inputs are those of ONNX's runner."""
    source = pathlib.Path(onnx.__file__).parents[1] / case.url
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    shutil.copyfile(source, folder / "model.onnx")
    graph = onnx.load(source).graph
    constant = {t.name for t in graph.initializer}
    for i, info in enumerate(v for v in graph.input if v.name not in constant):
        (data / f"input_{i}.pb").write_bytes(to_proto(Runner.generate_dummy_data(info), info).SerializeToString())
    for i in range(len(graph.output)):
        shutil.copyfile(source.with_name(f"{source.stem}_output_{i}.pb"), data / f"output_{i}.pb")


def write_all(to):
    """Once for each version of onnx."""
    done = to / f"written-{onnx.__version__}"
    if done.exists():
        return
    shutil.rmtree(to, ignore_errors=True)
    with np.errstate(all="ignore"):
        cases = list(every_case())
    for case in cases:
        folder = to / case.kind / case.name
        shutil.rmtree(folder, ignore_errors=True)
        if case.model_dir:
            shutil.copytree(case.model_dir, folder)
        else:
            (write_light if case.model is None else write_made)(case, folder)
        (folder / "data.json").write_text(json.dumps({"rtol": case.rtol, "atol": case.atol}))
    done.touch()
