"""infold doctor: every rule fires on what it is for, and on nothing else; reports keep to their formats."""

import json

import bn
import numpy as np
import onnx
import pytest
from bn import conv_bn, constants, model, node, parameters, trained
from onnx import TensorProto, helper


def changed(which, channel, value, n=4):
    values = trained(n)
    values["scale B mean var".split().index(which)][channel] = value
    return values


def training(**keys):
    return conv_bn(training_mode=1, outputs=("b", "rm", "rv"), **keys)


def fresh(n=4, scale=1.0, var=1.0):
    return [np.full(n, scale), np.zeros(n), np.zeros(n), np.full(n, var)]


def read_statistics(**attributes):
    m = training(**attributes)
    m.graph.output.append(helper.make_tensor_value_info("rm", TensorProto.FLOAT, None))
    return m


def of_weights():
    init, names = parameters(trained(4))
    w = np.random.default_rng(0).normal(size=(1, 4, 27)).astype(np.float32)
    nodes = [node("BatchNormalization", ["w", *names], ["n", "rm", "rv"], "bn", training_mode=1),
             node("Reshape", ["n", "shape"], ["k"]), node("Conv", ["x", "k"], ["y"])]
    return model(nodes, init + constants(w=w, shape=np.int64([4, 3, 3, 3])), ["N", 3, 8, 8])


def of_instances():
    init, names = parameters(np.tile(trained(4), (1, 2)))
    nodes = [node("Reshape", ["x", "flat"], ["f"]),
             node("BatchNormalization", ["f", *names], ["n", "rm", "rv"], "bn", training_mode=1),
             node("Reshape", ["n", "back"], ["y"])]
    return model(nodes, init + constants(flat=np.int64([1, 8, 5, 5]), back=np.int64([2, 4, 5, 5])), [2, 4, 5, 5])


def one_value():
    init, names = parameters(trained(4))
    return model([node("BatchNormalization", ["x", *names], ["y", "rm", "rv"], "bn", training_mode=1)], init, [1, 4])


def ordered(*operators):
    init, names = parameters(trained(4))
    w = np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype(np.float32)
    made = {"Conv": lambda i, o: node("Conv", [i, "w"], [o]),
            "BN": lambda i, o: node("BatchNormalization", [i, *names], [o], "bn")}
    values = ["x", *(f"t{i}" for i in range(len(operators) - 1)), "y"]
    nodes = [made.get(op, lambda i, o, op=op: node(op, [i], [o]))(i, o)
             for op, i, o in zip(operators, values, values[1:])]
    return model(nodes, init + constants(w=w), ["N", 4, 6, 6])


def given_statistics():
    init, names = parameters(trained(4))
    m = conv_bn()
    for name in ("bn.mean", "bn.var"):
        del m.graph.initializer[[t.name for t in m.graph.initializer].index(name)]
        m.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]))
    return m


def mixed():
    m = conv_bn(dtype=np.float16)
    for t in m.graph.initializer:
        if t.name in ("bn.mean", "bn.var"):
            t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(t).astype(np.float32), t.name))
    return m


def arithmetic():
    scale, shift = np.float32(np.random.default_rng(0).uniform(0.5, 2, (2, 4, 1, 1)))
    w = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "scale"], ["m"]), node("Add", ["m", "shift"], ["y"])]
    return model(nodes, constants(w=w, scale=scale, shift=shift), ["N", 3, 6, 6])


def own_statistics(shape=("N", 4, 6, 6), source="x"):
    """As PyTorch's exporter has it for track_running_stats=False: mean and variance computed, in inference mode."""
    init, names = parameters(trained(4))
    nodes = [node("ReduceMean", [source, "others"], ["m"], keepdims=0),
             node("ReduceMean", [source, "others"], ["k"]), node("Sub", [source, "k"], ["d"]), node("Mul", ["d", "d"], ["s"]),
             node("ReduceMean", ["s", "others"], ["v"], keepdims=0),
             node("BatchNormalization", [source, *names[:2], "m", "v"], ["y"], "bn")]
    others = [0, *range(2, len(shape))]
    return model(nodes, init[:2] + constants(others=np.int64(others)), shape, opset=18)


def own_statistics_in_arithmetic():
    """(x - mean) / sqrt(var + epsilon) * scale + B, of the batch."""
    nodes = [node("ReduceMean", ["x", "others"], ["m"]), node("Sub", ["x", "m"], ["d"]), node("Mul", ["d", "d"], ["s"]),
             node("ReduceMean", ["s", "others"], ["v"]), node("Add", ["v", "epsilon"], ["e"]), node("Sqrt", ["e"], ["r"]),
             node("Div", ["d", "r"], ["y"])]
    return model(nodes, constants(others=np.int64([0, 2, 3]), epsilon=np.float32(1e-5)), ["N", 4, 6, 6], opset=18)


def statistics_of_another():
    m = own_statistics()
    m.graph.node.insert(0, node("Abs", ["x"], ["other"]))
    m.graph.node[1].input[0] = m.graph.node[2].input[0] = m.graph.node[3].input[0] = "other"
    return m


def per_position():
    r = np.random.default_rng(0)
    init, names = parameters([r.uniform(0.5, 1.5, 4 * 6 * 6) for _ in range(4)])
    return model([node("BatchNormalization", ["x", *names], ["y"], "bn", spatial=0)], init, ["N", 4, 6, 6], opset=7)


NAN, INF = float("nan"), float("inf")
ALL = {
    "training-mode": [training(), conv_bn(opset=9, outputs=("b", "rm", "rv", "sm", "sv")), conv_bn(opset=6, is_test=0),
                      conv_bn(opset=6), conv_bn(opset=1, consumed_inputs=[0, 0, 0, 1, 1]),
                      conv_bn(opset=14, training_mode=1, outputs=("b",)),
                      conv_bn(opset=13, outputs=("b", "rm", "rv", "sm", "sv"))],
    "batch-statistics": [own_statistics(), own_statistics(("N", 4)), own_statistics_in_arithmetic()],
    "training-graph": [read_statistics()],
    "weight-standardization": [of_weights()],
    "instance-normalization": [of_instances()],
    "one-value": [one_value(), own_statistics((1, 4))],
    "small-batch": [training(shape=(4, 3, 8, 8)), own_statistics((4, 4, 8, 8))],
    "momentum-sense": [read_statistics(momentum=0.1)],
    "not-finite": [conv_bn(changed("mean", 2, NAN)), conv_bn(changed("var", 0, INF)), conv_bn(changed("B", 1, -INF)),
                   conv_bn(changed("scale", 3, NAN))],
    "negative-variance": [conv_bn(changed("var", 1, -0.25))],
    "zero-division": [conv_bn(changed("var", 1, 0), epsilon=0.0)],
    "huge-variance": [conv_bn(changed("var", 1, 1e9))],
    "tiny-variance": [conv_bn(changed("var", 1, 1e-14))],
    "epsilon-dominates": [conv_bn(changed("var", 1, 1e-7))],
    "gain-outlier": [conv_bn(changed("scale", 1, 3000)), conv_bn(changed("scale", 1, 200))],
    "dead-channel": [conv_bn(changed("scale", 1, 0))],
    "cancellation": [conv_bn(changed("mean", 1, 1e5))],
    "untrained": [conv_bn(fresh())],
    "statistics-unset": [conv_bn(fresh(scale=0.7))],
    "statistics-zero": [conv_bn(fresh(var=0))],
    "float16-overflow": [conv_bn(changed("scale", 1, 6e4), weight=np.full((4, 3, 3, 3), 30.0), dtype=np.float16)],
    "would-overflow-float16": [conv_bn(changed("var", 1, 1e5)), conv_bn(changed("mean", 1, 1e6))],
    "after-activation": [ordered("Conv", "Relu", "BN")],
    "before-activation": [ordered("Abs", "BN", "Relu")],
    "per-position": [per_position()],
    "spatial-unmeant": [conv_bn(opset=7, spatial=0), conv_bn(opset=6, is_test=1, spatial=0)],
    "computed-statistics": [given_statistics(), statistics_of_another()],
    "mixed-types": [mixed()],
    "written-out": [arithmetic()],
}
HEALTHY = [conv_bn(), conv_bn(opset=9), conv_bn(opset=7), conv_bn(opset=6, is_test=1),
           conv_bn(opset=1, is_test=1, consumed_inputs=[0, 0, 0, 1, 1]), conv_bn(opset=14, training_mode=0),
           conv_bn(epsilon=1e-3), conv_bn(shape=("N", 3, 9)), ordered("Conv", "BN", "Relu", "Conv")]


def diagnose(m, folder, *options):
    path = bn.save(m, folder / "model.onnx")
    done = bn.infold("doctor", path, "--json", *options, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def rules_of(found):
    return {f["rule"] for f in found["findings"]}


@pytest.mark.parametrize("rule, i", [(r, i) for r in ALL for i in range(len(ALL[r]))])
def test_rule_fires(rule, i, tmp_path):
    code, found = diagnose(ALL[rule][i], tmp_path)
    findings = [f for f in found["findings"] if f["rule"] == rule]
    assert len(findings) == 1, found["findings"]
    assert code == any(f["severity"] == "error" for f in found["findings"])
    strict, _ = diagnose(ALL[rule][i], tmp_path, "--strict")
    assert strict == any(f["severity"] != "note" for f in found["findings"])


def test_every_rule_has_a_case(tmp_path):
    path = bn.save(conv_bn(), tmp_path / "model.onnx")
    bn.infold("doctor", path, "--sarif", tmp_path / "out.sarif")
    rules = json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["tool"]["driver"]["rules"]
    assert {r["id"] for r in rules} == set(ALL)


@pytest.mark.parametrize("i", range(len(HEALTHY)))
def test_healthy_models_have_no_findings(i, tmp_path):
    code, found = diagnose(HEALTHY[i], tmp_path)
    assert code == 0 and not found["findings"]
    layer, = found["batch_normalizations"]
    assert layer["folds"] and layer["channels"] == 4 and not layer["trains"]


def test_numbers_of_a_layer(tmp_path):
    values = trained(4)
    _, found = diagnose(conv_bn(values), tmp_path)
    layer, = found["batch_normalizations"]
    scale, _, mean, var = np.float32(values).astype(float)
    gain = scale / np.sqrt(var + np.float32(1e-5))
    assert np.allclose([layer["gain"]["min"], layer["gain"]["max"]], [gain.min(), gain.max()])
    assert np.allclose([layer["mean"]["min"], layer["variance"]["max"]], [mean.min(), var.max()])


def test_channels_are_counted(tmp_path):
    values = trained(64)
    values[3][10:30] = -1
    _, found = diagnose(conv_bn(values), tmp_path)
    finding = next(f for f in found["findings"] if f["rule"] == "negative-variance")
    assert finding["n_channels"] == 20 and finding["channels"] == list(range(10, 18))


def test_statistics_that_are_computed_from_constants(tmp_path):
    m = conv_bn(changed("var", 1, -0.25))
    m.graph.node[1].input[4] = "computed"
    m.graph.node.insert(0, node("Identity", ["bn.var"], ["same"]))
    m.graph.node.insert(1, node("Abs", ["same"], ["computed"]))
    code, found = diagnose(m, tmp_path)
    assert code == 0 and found["batch_normalizations"][0]["channels"] == 4


def in_branch(m):
    """The nodes of a model's graph, in the then-branch of an If."""
    g = m.graph
    then = helper.make_graph(list(g.node), "then", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    other = helper.make_graph([node("Constant", [], ["z"], value_float=0.0)], "else", [],
                              [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    outer = model([node("If", ["flag"], ["out"], "choose", then_branch=then, else_branch=other)], list(g.initializer),
                  ["N", 3, 8, 8], outputs=("out",))
    outer.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    return outer


def test_subgraphs(tmp_path):
    code, found = diagnose(in_branch(training(values=changed("var", 0, -1))), tmp_path)
    layer, = found["batch_normalizations"]
    assert code == 1 and layer["place"] == "in then_branch of If 'choose'"
    assert rules_of(found) >= {"training-mode", "negative-variance"}


def functions_model():
    """A function that is called twice: once within another function, with another mode and other statistics."""
    inner = helper.make_function(
        "local", "Norm", ["a", "s", "b", "m", "v"], ["o"],
        [node("BatchNormalization", ["a", "s", "b", "m", "v"], ["o"], "bn")], [helper.make_opsetid("", 17)], ["mode"])
    reference = inner.node[0].attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "training_mode", "mode", onnx.AttributeProto.INT
    call = helper.make_node("Norm", ["a", "s", "b", "m", "v"], ["o"], domain="local", name="deep", mode=1)
    outer = helper.make_function("local", "Twice", ["a", "s", "b", "m", "v"], ["o"], [call],
                                 [helper.make_opsetid("local", 1), helper.make_opsetid("", 17)])
    first, names = parameters(trained(3), "first")
    second, others = parameters(changed("var", 2, -1, 3), "second")
    nodes = [helper.make_node("Norm", ["x", *names], ["t"], domain="local", name="call", mode=0),
             helper.make_node("Twice", ["t", *others], ["y"], domain="local", name="twice")]
    return model(nodes, first + second, ["N", 3, 8, 8], functions=[inner, outer])


def test_functions(tmp_path):
    _, found = diagnose(functions_model(), tmp_path)
    layers = {l["name"]: l for l in found["batch_normalizations"]}
    assert set(layers) == {"call/bn", "twice/deep/bn"}
    assert not layers["call/bn"]["trains"] and layers["twice/deep/bn"]["trains"]
    assert all(f["layer"] == "twice/deep/bn" for f in found["findings"])
    assert rules_of(found) >= {"training-mode", "negative-variance"}
    assert layers["call/bn"]["optimize"] == "stays: its parameters are inputs of the local function, which stays whole"


def test_outcome_is_what_optimize_says(tmp_path):
    """The reason that the doctor gives is the one of --why; what it says is gone, is gone."""
    m = ordered("Conv", "Relu", "BN", "Relu")
    _, found = diagnose(m, tmp_path)
    layer, = found["batch_normalizations"]
    why = bn.infold("optimize", tmp_path / "model.onnx", "--why", "bn").stdout
    assert not layer["folds"] and layer["optimize"].removeprefix("stays: ") in why
    _, found = diagnose(conv_bn(), tmp_path)
    bn.infold("optimize", tmp_path / "model.onnx", "-o", tmp_path / "out.onnx")
    assert found["batch_normalizations"][0]["optimize"] == "goes into Conv 'conv'"
    assert [n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node] == ["Conv", "Relu"]


def test_repair_is_what_it_says(tmp_path):
    _, found = diagnose(training(), tmp_path)
    assert found["batch_normalizations"][0]["optimize"].endswith("--bn-inference repairs it")
    bn.infold("optimize", tmp_path / "model.onnx", "--bn-inference", "-o", tmp_path / "model.onnx")
    assert bn.infold("doctor", tmp_path / "model.onnx").stdout.startswith("no BatchNormalization")


def test_no_batch_normalization(tmp_path):
    m = model([node("Relu", ["x"], ["y"])], [], ["N", 3])
    code, found = diagnose(m, tmp_path, "--strict")
    assert code == 0 and found["batch_normalizations"] == [] and found["findings"] == []


# ---- SARIF 2.1.0: the properties that its specification requires of each object ----


def check_sarif(log, uri):
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    run, = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] and driver["version"]
    ids = [r["id"] for r in driver["rules"]]
    assert len(set(ids)) == len(ids)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] and rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] == driver["rules"][result["ruleIndex"]]["defaultConfiguration"]["level"]
        assert result["message"]["text"]
        location, = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == uri
        assert location["logicalLocations"][0]["fullyQualifiedName"]
    return run["results"]


@pytest.mark.parametrize("m", [training(), functions_model(), conv_bn()], ids=["training", "functions", "healthy"])
def test_sarif(m, tmp_path):
    path = bn.save(m, tmp_path / "a model.onnx")
    code = bn.infold("doctor", path, "--sarif", tmp_path / "out.sarif", "--json", check=False)
    results = check_sarif(json.loads((tmp_path / "out.sarif").read_text()), path.as_uri())
    findings = json.loads(code.stdout)["findings"]
    assert [(r["ruleId"], r["level"]) for r in results] == [(f["rule"], f["severity"]) for f in findings]


def test_sarif_that_cannot_be_written(tmp_path):
    path = bn.save(conv_bn(), tmp_path / "model.onnx")
    done = bn.infold("doctor", path, "--sarif", tmp_path / "no/such/folder.sarif", check=False)
    assert done.returncode == 3 and "No such file" in done.stderr
