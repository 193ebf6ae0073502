"""infold extract and infold edit: what they write does what it should, by ONNX's checker and ONNX Runtime."""

import os
import pathlib
import subprocess

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
MODELS = ROOT / "models"


def infold(*args, code=0):
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    source = str(model) if isinstance(model, pathlib.Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(model, feeds):
    s = session(model)
    return dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds)))


def inputs_of(name):
    with np.load(MODELS / name / "inputs.npz") as archive:
        return {n: archive[n] for n in archive.files}


def with_outputs(path, *names):
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    infos = {v.name: v for v in [*model.graph.value_info, *model.graph.output]}
    del model.graph.output[:]
    model.graph.output.extend(infos[n] for n in names)
    return model


def parse(text, folder, name="model.onnx"):
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / name)
    return folder / name


# ---- extract ----


def test_the_parts_make_the_whole(tmp_path):
    path, cut = MODELS / "residual_net/model.onnx", "stage0.1.relu.out"
    infold("extract", path, "-o", tmp_path / "head.onnx", "--outputs", cut)
    infold("extract", path, "-o", tmp_path / "tail.onnx", "--inputs", cut)
    for part in ("head.onnx", "tail.onnx"):
        onnx.checker.check_model(tmp_path / part, full_check=True)
    feeds = inputs_of("residual_net")
    between = run(tmp_path / "head.onnx", feeds)
    assert list(between) == [cut]
    assert between[cut].tobytes() == run(with_outputs(path, cut), feeds)[cut].tobytes()
    whole, tail = run(path, feeds), run(tmp_path / "tail.onnx", between)
    assert {n: a.tobytes() for n, a in whole.items()} == {n: a.tobytes() for n, a in tail.items()}
    head, tail, full = (onnx.load(p) for p in (tmp_path / "head.onnx", tmp_path / "tail.onnx", path))
    assert len(head.graph.node) + len(tail.graph.node) == len(full.graph.node)
    assert len(head.graph.initializer) + len(tail.graph.initializer) == len(full.graph.initializer)


def test_several_inputs_in_the_order_asked_for(tmp_path):
    out = tmp_path / "out.onnx"
    infold("extract", MODELS / "residual_net/model.onnx", "-o", out, "--inputs",
           "stage0.0.relu.out,stage0.1.b.conv.out", "--outputs", "stage0.1.add.out,stage0.1.b.bn.out")
    onnx.checker.check_model(out, full_check=True)
    graph = onnx.load(out).graph
    assert [v.name for v in graph.input] == ["stage0.0.relu.out", "stage0.1.b.conv.out"]
    assert [v.name for v in graph.output] == ["stage0.1.add.out", "stage0.1.b.bn.out"]
    assert [n.op_type for n in graph.node] == ["BatchNormalization", "Add"]
    assert len(graph.initializer) == 4


def test_subgraphs_keep_what_they_capture(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N] x, bool c) => (float[N] y) <float[1] w = {2}, float[1] unused = {3}> {
          a = Mul(x, w)  b = Neg(x)  d = Abs(b)
          y = If(c) <then_branch = t () => (float[N] p) { p = Add(a, w) },
                     else_branch = e () => (float[N] q) { q = Sub(b, w) }>
        }""", tmp_path)
    out = tmp_path / "out.onnx"
    infold("extract", path, "-o", out, "--inputs", "a,b,c", "--outputs", "y")
    graph = onnx.load(out).graph
    assert [n.op_type for n in graph.node] == ["If"] and [t.name for t in graph.initializer] == ["w"]
    a, b = np.float32([1, 2]), np.float32([3, 4])
    for c in (True, False):
        assert (run(out, {"a": a, "b": b, "c": np.array(c)})["y"] == (a + 2 if c else b - 2)).all()
    text = infold("extract", path, "-o", out, "--inputs", "a,c", "--outputs", "y", code=2)
    assert "input 'x' is needed, too: node 'b' (Neg) reads it" in text


def test_functions_that_are_called_stay(tmp_path):
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "d": 1]>
        g (float[N] x) => (float[N] z) { y = d.outer(x)  z = d.other(y) }
        <domain: "d", opset_import: ["": 17, "d": 1]> outer (a) => (b) { b = d.inner(a) }
        <domain: "d", opset_import: ["": 17]> inner (a) => (b) { b = Neg(a) }
        <domain: "d", opset_import: ["": 17]> other (a) => (b) { b = Abs(a) }""")
    onnx.save(model, tmp_path / "f.onnx")
    out = tmp_path / "out.onnx"
    infold("extract", tmp_path / "f.onnx", "-o", out, "--outputs", "y")
    assert [f.name for f in onnx.load(out).functions] == ["outer", "inner"]
    onnx.checker.check_model(out, full_check=True)
    assert (run(out, {"x": np.float32([1])})["y"] == -1).all()


def test_operators_that_nobody_knows(tmp_path):
    """No inference passes them; what is behind keeps the types that the file declares, or has none."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "x": 1]>
        g (float[N,4] x) => (float[N,4] y) <float[N,4] b> { a = x.Foo(x)  b = x.Foo(a)  y = Relu(b) }""")
    onnx.save(model, tmp_path / "foo.onnx")
    out = tmp_path / "out.onnx"
    infold("extract", tmp_path / "foo.onnx", "-o", out, "--inputs", "b")
    onnx.checker.check_model(out, full_check=True)
    assert (run(out, {"b": np.float32([[-1, 2, -3, 4]])})["y"] == [[0, 2, 0, 4]]).all()
    assert "type of 'a' is not known" in infold("extract", tmp_path / "foo.onnx", "-o", out, "--inputs", "a", code=4)


def test_a_node_whose_other_output_is_cut(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[4] x) => (float[2] y) <int64[2] s = {2, 2}> { a, b = Split(x, s)  y = Add(a, b) }""", tmp_path)
    out = tmp_path / "out.onnx"
    infold("extract", path, "-o", out, "--inputs", "x,a", "--outputs", "y")
    onnx.checker.check_model(out, full_check=True)
    assert (run(out, {"x": np.float32([1, 2, 3, 4]), "a": np.float32([10, 20])})["y"] == [13, 24]).all()


@pytest.mark.parametrize("ir", [3, 8])
def test_initializers_as_inputs(ir, tmp_path):
    model = onnx.parser.parse_model(f"""<ir_version: {ir}, opset_import: ["": 8]>
        g (float[2] x) => (float[2] y) <float[2] w = {{3, 4}}, float[2] v = {{5, 6}}> {{ a = Mul(x, w)  y = Add(a, v) }}""")
    if ir < 4:
        model.graph.input.extend(onnx.helper.make_tensor_value_info(t.name, 1, t.dims) for t in model.graph.initializer)
    onnx.save(model, tmp_path / "m.onnx")
    out = tmp_path / "out.onnx"
    infold("extract", tmp_path / "m.onnx", "-o", out, "--inputs", "x,w")
    onnx.checker.check_model(out, full_check=True)
    assert [t.name for t in onnx.load(out).graph.initializer] == ["v"]
    assert (run(out, {"x": np.float32([1, 2]), "w": np.float32([7, 8])})["y"] == [12, 22]).all()


def test_external_data(tmp_path):
    out = tmp_path / "out.onnx"
    values = [n.output[0] for n in onnx.load(MODELS / "external_data/model.onnx").graph.node]
    infold("extract", MODELS / "external_data/model.onnx", "-o", out, "--outputs", values[1])
    feeds = inputs_of("external_data")
    whole = run(MODELS / "external_data/model.onnx", feeds)
    assert whole and run(out, feeds)[values[1]].size


# ---- edit ----


def test_renamed_everywhere(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N] x, bool c) => (float[N] y) <float[1] w = {2}, float[N] a> {
          a = Mul(x, w)
          y = If(c) <then_branch = t () => (float[N] p) { p = Add(a, w) },
                     else_branch = e () => (float[N] q) { q = Sub(x, w) }>
        }""", tmp_path)
    out = tmp_path / "out.onnx"
    infold("edit", path, "-o", out, "--rename", "x=image", "--rename", "w=weight", "--rename", "a=hidden",
           "--rename", "y=result", "--rename", "p=inner")
    onnx.checker.check_model(out, full_check=True)
    model = onnx.load(out)
    text = onnx.printer.to_text(model)
    for name in ("image", "weight", "hidden", "result", "inner"):
        assert name in text
    assert [v.name for v in model.graph.value_info] == ["hidden"]
    names = {n for g in [model.graph, *(a.g for a in model.graph.node[1].attribute)] for n in
             [*(i for node in g.node for i in [*node.input, *node.output]), *(v.name for v in [*g.input, *g.output])]}
    assert not names & {"x", "w", "a", "y", "p"}
    x = np.float32([1, 2])
    for c in (True, False):
        assert (run(out, {"image": x, "c": np.array(c)})["result"] == (2 * x + 2 if c else x - 2)).all()


def test_renaming_keeps_documentation_and_annotations(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N] x) => (float[N] y) <float[1] s = {2}, float[N] a> { a = Mul(x, s) y = Neg(a) }""", tmp_path)
    model = onnx.load(path)
    model.graph.input[0].doc_string = "what comes in"
    note = model.graph.quantization_annotation.add(tensor_name="a")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    onnx.save(model, path)
    infold("edit", path, "-o", tmp_path / "out.onnx", "--rename", "x=image", "--rename", "s=scale", "--rename", "a=b")
    graph = onnx.load(tmp_path / "out.onnx").graph
    assert graph.input[0].name == "image" and graph.input[0].doc_string == "what comes in"
    assert graph.quantization_annotation[0].tensor_name == "b"
    assert graph.quantization_annotation[0].quant_parameter_tensor_names[0].value == "scale"


@pytest.mark.parametrize("names", ["x=y", "x=a", "x=p", "nobody=z", "x=", "x"])
def test_names_that_cannot_be(names, tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N] x, bool c) => (float[N] y) {
          a = Neg(x)
          y = If(c) <then_branch = t () => (float[N] p) { p = Abs(a) }, else_branch = e () => (float[N] q) { q = Neg(a) }>
        }""", tmp_path)
    infold("edit", path, "-o", tmp_path / "out.onnx", "--rename", names, code=2)
    assert not (tmp_path / "out.onnx").exists()


def test_outputs_added_and_removed(tmp_path):
    path, out = MODELS / "residual_net/model.onnx", tmp_path / "out.onnx"
    feeds, whole = inputs_of("residual_net"), with_outputs(MODELS / "residual_net/model.onnx", "stem.act.out")
    infold("edit", path, "-o", out, "--add-output", "stem.act.out", "--add-output", "stem.pool.out")
    onnx.checker.check_model(out, full_check=True)
    got = run(out, feeds)
    assert list(got) == [onnx.load(path).graph.output[0].name, "stem.act.out", "stem.pool.out"]
    assert got["stem.act.out"].tobytes() == run(whole, feeds)["stem.act.out"].tobytes()
    infold("edit", out, "-o", tmp_path / "less.onnx", "--remove-output", list(got)[0], "--remove-output", "stem.pool.out")
    onnx.checker.check_model(tmp_path / "less.onnx", full_check=True)
    assert [n.op_type for n in onnx.load(tmp_path / "less.onnx").graph.node] == ["Conv", "BatchNormalization", "Relu"]
    assert "the only output" in infold("edit", tmp_path / "less.onnx", "-o", out, "--remove-output", "stem.act.out", code=2)


# ---- batch ----

BAKED = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1,2,3,4] x) => (float[1,5] y) <float[24,5] w, int64[2] flat = {1, 24}, int64[3] rows = {1, -1, 4},
       int64[4] heads = {1, 6, 2, 2}, float[1,6,4] b> {
      a = Relu(x)  b = Reshape(a, rows)  c = Reshape(b, heads)  d = Transpose<perm = [0,2,1,3]>(c)
      e = Reshape(d, flat)  y = MatMul(e, w)
    }"""


def baked(folder):
    model = onnx.parser.parse_model(BAKED)
    model.graph.initializer.append(onnx.numpy_helper.from_array(
        np.random.default_rng(1).standard_normal((24, 5)).astype("f4"), "w"))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "baked.onnx")
    return folder / "baked.onnx"


@pytest.mark.parametrize("batch", ["5", "N"])
def test_batches_in_reshapes_are_proven(batch, tmp_path):
    path, out = baked(tmp_path), tmp_path / "out.onnx"
    notes = infold("edit", path, "-o", out, "--batch", batch)
    assert "shape [1,24] became [-1,24]" in notes and "shape [1,-1,4] became [-1,6,4]" in notes
    onnx.checker.check_model(out, full_check=True)
    graph = onnx.load(out).graph
    dim = graph.output[0].type.tensor_type.shape.dim[0]
    assert (dim.dim_param or str(dim.dim_value)) == batch
    assert not graph.value_info or graph.value_info[0].type.tensor_type.shape.dim[0].dim_value != 1
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 4)).astype("f4")
    together = run(out, {"x": x})["y"]
    alone = np.concatenate([run(path, {"x": x[i:i + 1]})["y"] for i in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_batches_that_are_not_proven_are_said(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[1,2,3] x) => (float[2,3] y) <int64[2] s = {2, 3}> { y = Reshape(x, s) }""", tmp_path)
    notes = infold("edit", path, "-o", tmp_path / "out.onnx", "--batch", "N")
    assert "node 'y' (Reshape): shape [2,3] was left" in notes


def test_other_inputs_keep_their_first_dimension(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N,3] x, float[2,N,3] h, float[3] s) => (float[2,N,3] y) { a = Mul(x, s) y = Add(a, h) }""", tmp_path)
    notes = infold("edit", path, "-o", tmp_path / "out.onnx", "--batch", "4")
    assert notes.strip() == "input 's' stays float[3]"
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in onnx.load(tmp_path / "out.onnx").graph.input]
    assert shapes == [[4, 3], [2, 4, 3], [3]]


def test_reshapes_in_branches_follow(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[1,2,3] x, bool c) => (float[1,6] y) {
          y = If(c) <then_branch = t () => (float[1,6] p) { s = Constant<value_ints = [1,6]>() p = Reshape(x, s) },
                     else_branch = e () => (float[1,6] q) { q = Flatten(x) }>
        }""", tmp_path)
    out = tmp_path / "out.onnx"
    assert "became [-1,6]" in infold("edit", path, "-o", out, "--batch", "2")
    onnx.checker.check_model(out, full_check=True)
    x = np.arange(12, dtype="f4").reshape(2, 2, 3)
    for c in (True, False):
        assert (run(out, {"x": x, "c": np.array(c)})["y"] == x.reshape(2, 6)).all()


def test_the_same_bytes_each_time(tmp_path):
    for i in range(2):
        infold("edit", MODELS / "unet/model.onnx", "-o", tmp_path / f"{i}.onnx", "--batch", "2", "--rename", "image=x")
        infold("extract", MODELS / "unet/model.onnx", "-o", tmp_path / f"e{i}.onnx", "--outputs", "down0.a.bn.out")
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()
    assert (tmp_path / "e0.onnx").read_bytes() == (tmp_path / "e1.onnx").read_bytes()


@pytest.mark.parametrize("name", [p.parent.name for p in sorted(MODELS.glob("*/model.onnx"))])
def test_nothing_asked_for_changes_nothing(name, tmp_path):
    """Renamed there and back, a model is what it was."""
    path, out = MODELS / name / "model.onnx", tmp_path / "out.onnx"
    first = onnx.load(path, load_external_data=False).graph.output[0].name
    infold("edit", path, "-o", out, "--rename", f"{first}=infold.other")
    infold("edit", out, "-o", out, "--rename", f"infold.other={first}", "--external-data", "w.bin") \
        if name == "external_data" else infold("edit", out, "-o", out, "--rename", f"infold.other={first}")
    assert onnx.load(out) == onnx.load(path)
