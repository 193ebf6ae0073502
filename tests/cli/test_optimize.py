"""infold optimize: what its options promise of the file."""

import numpy as np
import onnx
from test_edit import infold, parse, run

TWINS = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N,2,4,4] x) => (float[N,2,4,4] y) <float[2,2,1,1] w = {1, 2, 3, 4},
      float[2] s0 = {1, 1}, float[2] b0 = {0, 0}, float[2] m0 = {0.5, 1}, float[2] v0 = {1, 2},
      float[2] s1 = {1, 1}, float[2] b1 = {0, 0}, float[2] m1 = {0.5, 1}, float[2] v1 = {1, 2}> {
      i = Identity(x)  c = Conv(i, w)
      p = BatchNormalization(c, s0, b0, m0, v0)  q = BatchNormalization(c, s1, b1, m1, v1)
      r = Relu(p)  y = Add(r, q)
    }"""


def test_keep_bn_keeps_parameters_apart(tmp_path):
    path, kept, folded = parse(TWINS, tmp_path), tmp_path / "kept.onnx", tmp_path / "folded.onnx"
    infold("optimize", path, "-o", kept, "--keep-bn")
    infold("optimize", path, "-o", folded)
    graph = onnx.load(kept).graph
    bns = [n for n in graph.node if n.op_type == "BatchNormalization"]
    assert len(bns) == 2 and not set(bns[0].input[1:]) & set(bns[1].input[1:])
    assert "Identity" not in [n.op_type for n in graph.node]
    assert sum(n.op_type == "BatchNormalization" for n in onnx.load(folded).graph.node) < 2
    x = {"x": np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype("f4")}
    assert run(kept, x)["y"].tobytes() == run(path, x)["y"].tobytes()
    np.testing.assert_allclose(run(folded, x)["y"], run(path, x)["y"], atol=1e-5)


def test_provenance_is_in_the_file(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N,2,4,4] x) => (float[N,2,4,4] y) <float[2,2,1,1] w = {1, 2, 3, 4}, float[2] s = {1, 3},
          float[2] b = {0, 1}, float[2] m = {0.5, 1}, float[2] v = {1, 2}> {
          [first] c = Conv(x, w) [then] n = BatchNormalization(c, s, b, m, v) [last] y = Relu(n)
        }""", tmp_path)
    infold("optimize", path, "-o", tmp_path / "out.onnx")
    nodes = onnx.load(tmp_path / "out.onnx").graph.node
    assert [(n.op_type, {p.key: p.value for p in n.metadata_props}) for n in nodes] == [
        ("Conv", {"infold.from": "first,then"}), ("Relu", {})]
    onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
    infold("optimize", path, "-o", tmp_path / "out.onnx", "--no-provenance")
    assert not any(n.metadata_props for n in onnx.load(tmp_path / "out.onnx").graph.node)


def test_fixed_dimensions_are_declared(tmp_path):
    path = parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N,C] x, float[C] w) => (float[N,C] y) <float[N,C] a> { a = Mul(x, w) y = Relu(a) }""", tmp_path)
    infold("optimize", path, "-o", tmp_path / "out.onnx", "--fix-dim", "C=5")

    def shapes(model):
        values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    assert shapes(onnx.load(tmp_path / "out.onnx")) == {"x": ["N", 5], "w": [5], "y": ["N", 5], "a": ["N", 5]}
    infold("optimize", path, "-o", tmp_path / "out.onnx", "--batch", "2", "--fix-dim", "C=5")
    assert shapes(onnx.load(tmp_path / "out.onnx")) == {"x": [2, 5], "w": [5], "y": [2, 5], "a": [2, 5]}
    infold("optimize", path, "-o", tmp_path / "out.onnx")
    assert shapes(onnx.load(tmp_path / "out.onnx")) == shapes(onnx.load(path))


def test_rewrites_pay_together(tmp_path):
    """Each half of w by itself makes the file larger, both take its place: but not where w is read besides."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[600] x, float[2,600] w) => (float[600] y, float[%s] z) <int64 i0 = {0}, int64 i1 = {1}> {
          a = Gather(w, i0)  b = Gather(w, i1)  c = Mul(x, a)  y = Add(c, b)  z = %s
        }"""
    w = np.random.default_rng(0).standard_normal((2, 600)).astype("f4")
    path, out, x = tmp_path / "w.onnx", tmp_path / "out.onnx", {"x": w[1]}
    for size, last, ops in (600, "Relu(y)", ["Add", "Mul", "Relu"]), (2, "MatMul(w, x)", ["Add", "Gather", "Gather", "MatMul", "Mul"]):
        model = onnx.load(parse(text % (size, last), tmp_path))
        model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
        del model.graph.input[1]
        onnx.save(model, path)
        infold("optimize", path, "-o", out)
        assert sorted(n.op_type for n in onnx.load(out).graph.node) == ops
        assert out.stat().st_size <= path.stat().st_size
        assert run(out, x)["y"].tobytes() == run(path, x)["y"].tobytes()


def test_no_two_nodes_are_named_alike(tmp_path):
    path = parse("""<ir_version: 10, opset_import: ["": 18, "my": 1]>
        g (float[N,4] x) => (float[N,4] y) {
          [same] a = my.F(x) [other] b = my.G(a) [same_1] y = Exp(b)
        }
        <domain: "my", opset_import: ["": 18]> F (x) => (y) { [same] t = Relu(x) [other] y = Sin(t) }
        <domain: "my", opset_import: ["": 18]> G (x) => (y) { [same] t = Tanh(x) [other] y = Cos(t) }""", tmp_path)
    infold("optimize", path, "-o", tmp_path / "out.onnx")
    nodes = onnx.load(tmp_path / "out.onnx").graph.node
    assert [(n.op_type, n.name) for n in nodes] == [
        ("Relu", "same"), ("Sin", "other"), ("Tanh", "same_2"), ("Cos", "other_1"), ("Exp", "same_1")]


def test_unsorted_nodes_are_sorted(tmp_path):
    model = onnx.load(parse("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N] x, bool c) => (float[N] y) {
          a = Abs(x)  b = Exp(a)
          y = If(c) <then_branch = yes () => (float[N] t) { t = Neg(b) },
                     else_branch = no () => (float[N] e) { b1 = Add(a, a) e = Add(b1, b1) }>
        }""", tmp_path))
    x = {"x": np.array([1, -2], "f4"), "c": np.array(True)}
    expected = run(tmp_path / "model.onnx", x)["y"]
    for order in (2, 1, 0), (1, 2, 0), (2, 0, 1):
        nodes = [model.graph.node[i] for i in order]
        mixed = onnx.ModelProto()
        mixed.CopyFrom(model)
        del mixed.graph.node[:]
        mixed.graph.node.extend(nodes)
        onnx.save(mixed, tmp_path / "mixed.onnx")
        infold("optimize", tmp_path / "mixed.onnx", "-o", tmp_path / "out.onnx")
        onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
        for path in tmp_path / "mixed.onnx", tmp_path / "out.onnx":
            assert run(path, x)["y"].tobytes() == expected.tobytes()


def test_constants_are_folded_from_any_address(tmp_path):
    """Weights of two and four bytes lie wherever the names before them end."""
    rng = np.random.default_rng(0)
    weights = [("a" * k, rng.standard_normal((5, 37, 33)).astype(t)) for k in range(1, 6) for t in ("f4", "f2")]
    turned = [w.transpose(2, 0, 1) for _, w in weights]
    nodes = [onnx.helper.make_node("Transpose", [f"{n}{i}"], [f"y{i}"], perm=[2, 0, 1])
             for i, (n, _) in enumerate(weights)]
    outputs = [onnx.helper.make_tensor_value_info(f"y{i}", onnx.helper.np_dtype_to_tensor_dtype(t.dtype), t.shape)
               for i, t in enumerate(turned)]
    graph = onnx.helper.make_graph(nodes, "g", [], outputs, [onnx.numpy_helper.from_array(w, f"{n}{i}")
                                                             for i, (n, w) in enumerate(weights)])
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]),
              tmp_path / "in.onnx")
    infold("optimize", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    left = onnx.load(tmp_path / "out.onnx").graph.node
    assert [n.op_type for n in left] == ["Constant"] * len(turned)
    for n in left:
        made = onnx.numpy_helper.to_array(n.attribute[0].t)
        assert made.tobytes() == turned[int(n.output[0][1:])].tobytes()
