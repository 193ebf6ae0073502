"""infold recalibrate: running statistics are those of the data.

The oracle of a whole network is restated in NumPy and double here, for the three definitions; for any other model it is
the definition itself: ONNX Runtime gives the input of each layer of the written file, and NumPy its mean and variance.
"""

import json

import bn
import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from bn import constants, conv_bn, model, node, parameters, trained
from onnx import TensorProto, helper, numpy_helper

DIGITS = bn.ROOT / "models/digits.onnx"
TEST = np.load(bn.ROOT / "models/digits_test.npz")
MODELS = sorted(p for p in (bn.ROOT / "models").glob("*/model.onnx")
                if any(n.op_type == "BatchNormalization" for n in onnx.load(p, load_external_data=False).graph.node))


def recalibrate(source, data, target, *options):
    done = bn.infold("recalibrate", source, "--data", data, "-o", target, "--report", "json", *options)
    return json.loads(done.stdout)


def statistics(path):
    """name of layer -> (mean, var), where they are initializers."""
    graph = onnx.load(path).graph
    values = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer}
    return {n.name or n.output[0]: (values[n.input[3]], values[n.input[4]]) for n in graph.node
            if n.op_type == "BatchNormalization"}


# ---- the oracle: a network of these operators, in double ----


def windows(x, kernel, strides, pads):
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    w = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return w[:, :, ::strides[0], ::strides[1]]


def conv(a, x, w, b=None):
    groups, out = a.get("group", 1), []
    for x_g, w_g in zip(np.split(x, groups, 1), np.split(w, groups, 0)):
        out.append(np.einsum("nchwij,ocij->nohw", windows(x_g, w.shape[2:], a.get("strides", [1, 1]),
                                                          a.get("pads", [0] * 4)), w_g, optimize=True))
    return np.concatenate(out, 1) + (0 if b is None else b[:, None, None])


def pool(reduce):
    return lambda a, x: reduce(windows(x, a["kernel_shape"], a["strides"], [0] * 4), axis=(4, 5))


OPERATORS = {
    "Conv": conv, "MaxPool": pool(np.max), "AveragePool": pool(np.mean),
    "Relu": lambda a, x: np.maximum(x, 0), "Add": lambda a, x, y: x + y,
    "Flatten": lambda a, x: x.reshape(len(x), -1), "Gemm": lambda a, x, w, c: x @ w.T + c,
}


def along_channels(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


def forward(path, x, choose):
    """The network's output; choose(name, input, mean, var) gives what a layer normalizes by."""
    graph = onnx.load(path).graph
    values = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer}
    values[graph.input[0].name] = x.astype(np.float64)
    for n in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in n.attribute}
        inputs = [values[i] for i in n.input]
        if n.op_type == "BatchNormalization":
            x, scale, b, mean, var = inputs
            mean, var = choose(n.name, x, mean, var)
            scale = scale / np.sqrt(var + attributes.get("epsilon", 1e-5))
            values[n.output[0]] = (x - along_channels(mean, x)) * along_channels(scale, x) + along_channels(b, x)
        else:
            values[n.output[0]] = OPERATORS[n.op_type](attributes, *inputs)
    return values[graph.output[0].name]


def moments(x, ddof=0):
    axes = (0, *range(2, x.ndim))
    return x.mean(axis=axes), x.var(axis=axes, ddof=ddof)


def exact(path, x, ddof):
    """Each layer's statistics over all of x, behind layers that normalize by theirs."""
    found = {}

    def choose(name, x, mean, var):
        found[name] = moments(x, ddof)
        return found[name]

    forward(path, x, choose)
    return found


def update_bn(path, batches, ddof, momentum=None):
    """torch.optim.swa_utils.update_bn: in training mode a layer normalizes by the batch's population statistics;
    running = (1 - f) * running + f * batch, f = 1 / number of batches so far, or (in ONNX's sense) 1 - momentum."""
    running = {} if momentum is None else statistics(path)
    for k, batch in enumerate(batches):
        f = 1 / (k + 1) if momentum is None else 1 - momentum

        def choose(name, x, mean, var):
            old = running.get(name, (0, 0))
            running[name] = tuple((1 - f) * o + f * new for o, new in zip(old, moments(x, ddof)))
            return moments(x)

        forward(path, batch, choose)
    return running


def same(found, expected, tolerance=2e-5):
    assert found.keys() == expected.keys()
    for name in found:
        deviation = np.sqrt(expected[name][1])
        assert np.abs((found[name][0] - expected[name][0]) / deviation).max() < tolerance, name
        assert np.abs(found[name][1] / expected[name][1] - 1).max() < 10 * tolerance, name


@pytest.fixture
def pictures(tmp_path):
    x = (TEST["image"][:70] * 0.4 + 0.1).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=x)
    return x


@pytest.mark.parametrize("variance", ["population", "sample"])
@pytest.mark.parametrize("batch", [70, 32, 7])
def test_exact(variance, batch, pictures, tmp_path):
    report = recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx", "--variance", variance, "--batch", batch)
    assert report["samples"] == 70 and report["batches"] == -(-70 // batch)
    same(statistics(tmp_path / "out.onnx"), exact(DIGITS, pictures, variance == "sample"))


@pytest.mark.parametrize("variance", ["population", "sample"])
@pytest.mark.parametrize("batch", [70, 32])
def test_average_is_update_bn(variance, batch, pictures, tmp_path):
    recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx", "--momentum", "average", "--variance", variance,
                "--batch", batch)
    batches = [pictures[i:i + batch] for i in range(0, 70, batch)]
    same(statistics(tmp_path / "out.onnx"), update_bn(DIGITS, batches, variance == "sample"))


@pytest.mark.parametrize("momentum", [0.9, 0.25, 0.0])
def test_momentum(momentum, pictures, tmp_path):
    recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx", "--momentum", momentum, "--batch", 16)
    batches = [pictures[i:i + 16] for i in range(0, 70, 16)]
    same(statistics(tmp_path / "out.onnx"), update_bn(DIGITS, batches, 0, momentum))


def test_momentum_of_one_keeps_what_there_is(pictures, tmp_path):
    recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx", "--momentum", 1)
    assert (tmp_path / "out.onnx").read_bytes() == DIGITS.read_bytes()


def test_one_batch_is_the_same_by_all_definitions(pictures, tmp_path):
    recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "a.onnx", "--batch", 70)
    recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "b.onnx", "--batch", 70, "--momentum", "average")
    same(statistics(tmp_path / "a.onnx"), statistics(tmp_path / "b.onnx"))


def test_report_states_the_shifts(pictures, tmp_path):
    report = recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx")
    before, after = statistics(DIGITS), statistics(tmp_path / "out.onnx")
    for layer in report["layers"]:
        (m0, v0), (m1, v1) = before[layer["name"]], after[layer["name"]]
        moved, ratio = np.abs(m1 - m0) / np.sqrt(v0 + 1e-5), (v1 + 1e-5) / (v0 + 1e-5)
        assert layer["mean_moved"]["max"] == pytest.approx(moved.max(), rel=1e-4)
        assert layer["variance_ratio"]["geometric_mean"] == pytest.approx(np.exp(np.log(ratio).mean()), rel=1e-4)
        assert layer["variance_ratio"]["min"] == pytest.approx(ratio.min(), rel=1e-4)


# ---- what it is for ----


def accuracy(path, x, label, folder):
    np.savez(folder / "run.npz", image=x.astype(np.float32))
    bn.infold("run", path, "--inputs", folder / "run.npz", "--output", folder / "logits.npz")
    return (np.load(folder / "logits.npz")["logits"].argmax(axis=1) == label).mean()


def noise(x, deviation):
    return np.random.default_rng(0).normal(0, deviation, x.shape)


# What docs/batch_normalization.md says of each: what a shift and a scale can undo comes back, what they cannot does not.
SHIFTS = {
    "a quarter of the light, noise of 0.02": lambda x: x / 4 + noise(x, 0.02),
    "brighter by 0.7, noise of 0.1": lambda x: x + 0.7 + noise(x, 0.1),
    "five times the contrast, brighter by 2": lambda x: 5 * x + 2,
    "contrast 0.3 around grey": lambda x: 0.3 * x + 0.5,
    "noise of 0.25": lambda x: x + noise(x, 0.25),
    "inverted": lambda x: 1 - x,
}
COME_BACK = list(SHIFTS)[:3]


@pytest.mark.parametrize("name", SHIFTS)
def test_accuracy(name, tmp_path):
    """200 pictures without labels to measure on, 250 others to judge by."""
    shifted, label = SHIFTS[name](TEST["image"].astype(np.float64)), TEST["label"][200:]
    np.savez(tmp_path / "data.npz", image=shifted[:200].astype(np.float32))
    recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx")
    clean = accuracy(DIGITS, TEST["image"][200:], label, tmp_path)
    fallen = accuracy(DIGITS, shifted[200:], label, tmp_path)
    back = accuracy(tmp_path / "out.onnx", shifted[200:], label, tmp_path)
    print(f"accuracy {clean:.3f}, {fallen:.3f} on shifted pictures, {back:.3f} recalibrated")
    docs = (bn.ROOT / "docs/batch_normalization.md").read_text()
    row = next(line for line in docs.splitlines() if line.startswith(f"| {name} |"))
    said = [float(cell.strip().removesuffix(" %")) / 100 for cell in row.split("|")[2:4]]
    assert np.abs(np.subtract(said, [fallen, back])).max() < 0.01, (fallen, back)
    assert clean > 0.98 and fallen < clean - 0.2
    assert (back > 0.93) == (name in COME_BACK)


# ---- any model: the definition ----


def run_plainly(m):
    """A session of ONNX Runtime that runs the graph as it is: its optimizer folds training-mode BatchNormalization."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])


def inputs_of_layers(m):
    """The model with the input of every BatchNormalization of its main graph as an output."""
    shown = onnx.ModelProto()
    shown.CopyFrom(m)
    names = list(dict.fromkeys(n.input[0] for n in m.graph.node if n.op_type == "BatchNormalization"))
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    return run_plainly(shown), names


def check_definition(source, target, report, batches):
    """In the written file, a layer's statistics are those of what it is given, over all batches."""
    m = onnx.load(target)
    session, names = inputs_of_layers(m)
    runs = [session.run(names, b) for b in batches]
    values = {t.name: numpy_helper.to_array(t) for t in m.graph.initializer}
    for n in m.graph.node:
        if n.op_type == "Constant" and n.attribute[0].name == "value":
            values[n.output[0]] = numpy_helper.to_array(n.attribute[0].t)
    left, given = {l["name"] for l in report["layers"] if "left" in l}, {}
    for n in m.graph.node:
        if n.op_type == "BatchNormalization" and n.name not in left:
            x = [r[names.index(n.input[0])] for r in runs]
            given.setdefault((n.input[3], n.input[4]), []).extend(x)  # uses of one layer together
    for (mean, var), x in given.items():
        coarse = 3e-3 if x[0].dtype == np.float16 or values[mean].dtype == np.float16 else 1e-4
        new_mean, new_var = moments(np.concatenate(x).astype(np.float64))
        scale = np.sqrt(new_var + 1e-5)
        assert np.abs((values[mean] - new_mean) / scale).max() < coarse, mean
        assert np.abs((values[var] - new_var) / (new_var + 1e-5)).max() < 10 * coarse, var
    assert given
    return len(given)


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.parent.name)
def test_definition(path, tmp_path):
    m = onnx.load(path)
    inputs = dict(np.load(path.parent / "inputs.npz"))
    done = bn.infold("recalibrate", path, "--data", path.parent / "inputs.npz", "--report", "json", "-o",
                     tmp_path / "out.onnx", check=False)
    if done.returncode == 4:
        assert "can be measured" in done.stderr
        pytest.skip(done.stderr.strip()[-120:])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    kept = set(i.name for i in m.graph.input)
    try:
        inputs_of_layers(m)
    except Exception as e:
        pytest.skip(f"ONNX Runtime does not run it: {str(e)[:80]}")
    check_definition(path, tmp_path / "out.onnx", report, [{k: v for k, v in inputs.items() if k in kept}])
    again = recalibrate(tmp_path / "out.onnx", path.parent / "inputs.npz", tmp_path / "again.onnx")
    for layer in again["layers"]:  # nothing is left to move
        if "left" not in layer:
            assert layer["mean_moved"]["max"] < 1e-2 and abs(layer["variance_ratio"]["max"] - 1) < 1e-2


# ---- the file ----


def test_only_statistics_change(pictures, tmp_path):
    report = recalibrate(DIGITS, tmp_path / "data.npz", tmp_path / "out.onnx")
    before, after = onnx.load(DIGITS), onnx.load(tmp_path / "out.onnx")
    changed = {i for n in before.graph.node if n.op_type == "BatchNormalization" for i in n.input[3:]}
    new = {t.name: t for t in after.graph.initializer}
    assert len(report["layers"]) == 5
    for t in before.graph.initializer:
        assert (t.raw_data != new[t.name].raw_data) == (t.name in changed), t.name
        new[t.name].raw_data = t.raw_data
    assert after.SerializeToString() == before.SerializeToString()
    assert (tmp_path / "out.onnx").stat().st_size == DIGITS.stat().st_size


def test_types_and_constant_nodes(tmp_path):
    """float16 statistics, and statistics in Constant nodes, stay what they are."""
    m = conv_bn(dtype=np.float16)
    mean = next(t for t in m.graph.initializer if t.name == "bn.mean")
    m.graph.node.insert(0, helper.make_node("Constant", [], ["bn.mean"], name="c", value=mean))
    m.graph.initializer.remove(mean)
    path = bn.save(m, tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(0.5, 2, (9, 3, 8, 8)).astype(np.float16)
    np.savez(tmp_path / "data.npz", x=x)
    report = recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx")
    out = onnx.load(tmp_path / "out.onnx")
    assert out.graph.node[0].attribute[0].t.data_type == TensorProto.FLOAT16
    check_definition(path, tmp_path / "out.onnx", report, [{"x": x}])


def chain(layers, opset=17, shape=("N", 3, 8, 8)):
    """x -> (Conv -> BatchNormalization -> Relu)* -> y; layers: (name of parameters, their values) or a name again."""
    nodes, init, x, c, known = [], [], "x", shape[1], {}
    for i, layer in enumerate(layers):
        if isinstance(layer, tuple):
            made, known[layer[0]] = parameters(layer[1], layer[0])
            init += made
            layer = layer[0]
        n = 4
        w = np.random.default_rng(i).normal(0, 0.3, (n, c, 3, 3)).astype(np.float32)
        init += constants(**{f"w{i}": w})
        nodes += [node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1] * 4),
                  node("BatchNormalization", [f"c{i}", *known[layer]], [f"b{i}"], f"bn{i}"),
                  node("Relu", [f"b{i}"], [f"r{i}" if i + 1 < len(layers) else "y"])]
        x, c = f"r{i}", n
    return model(nodes, init, list(shape), opset)


def draw(folder, n=20, shape=(3, 8, 8), **more):
    x = np.random.default_rng(1).normal(0.5, 2, (n, *shape)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, **more)
    return x


def test_merged_constants_are_parted(tmp_path):
    """Two layers read the same mean and variance, as tools that merge equal constants leave them."""
    m = chain([("a", trained(4)), ("b", trained(4, 1))])
    m.graph.node[4].input[3:] = ["a.mean", "a.var"]
    path, x = bn.save(m, tmp_path / "model.onnx"), draw(tmp_path)
    report = recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx")
    assert check_definition(path, tmp_path / "out.onnx", report, [{"x": x}]) == 2


def test_twins_have_one_set_of_statistics(tmp_path):
    """One layer used on two inputs of one depth: the statistics are those of both together."""
    init, names = parameters(trained(3))
    nodes = [node("Abs", ["x"], ["p"]), node("Exp", ["x"], ["q"]),
             node("BatchNormalization", ["p", *names], ["u"], "first"),
             node("BatchNormalization", ["q", *names], ["v"], "second"), node("Add", ["u", "v"], ["y"])]
    path = bn.save(model(nodes, init, ["N", 3, 5]), tmp_path / "model.onnx")
    x = draw(tmp_path, shape=(3, 5)).astype(np.float64)
    recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx", "--batch", 6)
    mean, var = moments(np.concatenate([np.abs(x), np.exp(x)]))
    found = statistics(tmp_path / "out.onnx")
    assert np.allclose(found["first"][0], mean, rtol=1e-5) and np.allclose(found["second"][1], var, rtol=1e-5)


def test_a_layer_behind_itself_is_left(tmp_path):
    m = chain([("a", trained(4)), "a", ("b", trained(4, 1))])
    path, x = bn.save(m, tmp_path / "model.onnx"), draw(tmp_path)
    report = recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx")
    assert ["left" in l for l in report["layers"]] == [True, True, False]
    assert check_definition(path, tmp_path / "out.onnx", report, [{"x": x}]) == 1


@pytest.mark.parametrize("opset, keys", [(6, dict(is_test=1)), (7, {}), (9, {}), (13, {}), (14, {}), (15, {}), (22, {})])
def test_opsets(opset, keys, tmp_path):
    path, x = bn.save(conv_bn(opset=opset, **keys), tmp_path / "model.onnx"), draw(tmp_path)
    for options in [(), ("--momentum", "average", "--batch", 20)]:
        report = recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx", *options)
        if opset > 6:  # which ONNX Runtime does not run
            check_definition(path, tmp_path / "out.onnx", report, [{"x": x}])
    recalibrate(path, tmp_path / "data.npz", tmp_path / "a.onnx")
    assert len(onnx.load(tmp_path / "a.onnx").graph.node[1].output) == 1


def test_spatial_0(tmp_path):
    r = np.random.default_rng(0)
    init, names = parameters([r.uniform(0.5, 1.5, 60) for _ in range(4)])
    m = model([node("BatchNormalization", ["x", *names], ["y"], "bn", spatial=0)], init, ["N", 3, 4, 5], opset=7)
    path, x = bn.save(m, tmp_path / "model.onnx"), draw(tmp_path, shape=(3, 4, 5)).astype(np.float64)
    recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx", "--batch", 8)
    mean, var = statistics(tmp_path / "out.onnx")["bn"]
    assert np.allclose(mean, x.mean(0).ravel(), rtol=1e-5, atol=1e-6)
    assert np.allclose(var, x.var(0).ravel(), rtol=1e-5)


def test_training_mode_then_repair(tmp_path):
    """An export in training mode with untrained statistics: measured, then put into inference mode."""
    fresh = [np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)]
    m = conv_bn(fresh, training_mode=1, outputs=("b", "rm", "rv"))
    path, x = bn.save(m, tmp_path / "model.onnx"), draw(tmp_path)
    assert "untrained" in bn.infold("optimize", path, "--bn-inference").stdout
    recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx")
    bn.infold("optimize", tmp_path / "out.onnx", "--bn-inference", "-o", tmp_path / "out.onnx")
    expected, = run_plainly(m).run(["y"], {"x": x})
    found, = run_plainly(onnx.load(tmp_path / "out.onnx")).run(["y"], {"x": x})
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


# ---- functions and subgraphs ----


def test_functions(tmp_path):
    path = bn.ROOT / "models/local_functions/model.onnx"
    data = path.parent / "inputs.npz"
    report = recalibrate(path, data, tmp_path / "out.onnx")
    assert len(report["layers"]) == 4 and not any("left" in l for l in report["layers"])
    inlined = onnx.inliner.inline_local_functions(onnx.load(tmp_path / "out.onnx"))
    check_definition(path, bn.save(inlined, tmp_path / "inlined.onnx"), report, [dict(np.load(data))])


def test_subgraphs_are_left_and_read_by(tmp_path):
    path = bn.ROOT / "models/control_flow/model.onnx"
    report = recalibrate(path, path.parent / "inputs.npz", tmp_path / "out.onnx")
    left = {l["name"]: l.get("left") for l in report["layers"]}
    assert left["stem.bn"] is None and left["refine.bn"] == "it stands in a subgraph"


# ---- memory ----


def test_little_memory_computes_again(tmp_path):
    """Values between layers that do not fit are computed from where they last did."""
    m = chain([(f"l{i}", trained(4, i)) for i in range(5)], shape=("N", 3, 32, 32))
    path, x = bn.save(m, tmp_path / "model.onnx"), draw(tmp_path, 256, (3, 32, 32))
    recalibrate(path, tmp_path / "data.npz", tmp_path / "a.onnx", "--batch", 8)
    recalibrate(path, tmp_path / "data.npz", tmp_path / "b.onnx", "--batch", 8, "--max-memory", "6M")
    same(statistics(tmp_path / "a.onnx"), statistics(tmp_path / "b.onnx"), 1e-5)


# ---- data ----


def write_set(folder, **arrays):
    folder.mkdir(parents=True)
    for i, a in enumerate(arrays.values()):
        (folder / f"input_{i}.pb").write_bytes(numpy_helper.from_array(a).SerializeToString())


def test_folders(tmp_path):
    path, x = bn.save(conv_bn(), tmp_path / "model.onnx"), draw(tmp_path, 24)
    recalibrate(path, tmp_path / "data.npz", tmp_path / "a.onnx", "--batch", 5)
    for i in range(12):
        write_set(tmp_path / f"sets/test_data_set_{i}", x=x[2 * i:2 * i + 2])
    (tmp_path / "archives").mkdir()
    np.savez(tmp_path / "archives/0.npz", x=x[:10])
    np.savez(tmp_path / "archives/1.npz", x=x[10:], label=np.arange(14))
    (tmp_path / "archives/notes.txt").write_text("not data")
    for folder, batches in [("sets", 12), ("archives", 2)]:
        report = recalibrate(path, tmp_path / folder, tmp_path / "b.onnx")
        assert (report["samples"], report["batches"]) == (24, batches)
        same(statistics(tmp_path / "a.onnx"), statistics(tmp_path / "b.onnx"), 1e-6)
    report = recalibrate(path, tmp_path / "sets/test_data_set_3", tmp_path / "b.onnx")
    assert report["samples"] == 2


def test_a_fixed_batch(tmp_path):
    """The model takes 4 at a time: that is the batch, and what does not fill one is left out."""
    path, x = bn.save(conv_bn(shape=(4, 3, 8, 8)), tmp_path / "model.onnx"), draw(tmp_path, 22)
    report = recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx", "--batch", 7)
    assert (report["samples"], report["batches"], report["left_out"]) == (20, 5, 2)
    np.savez(tmp_path / "data.npz", x=x[:20])
    recalibrate(path, tmp_path / "data.npz", tmp_path / "b.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_two_inputs(tmp_path):
    """One input has samples, the other is the same for all batches."""
    init, names = parameters(trained(3))
    nodes = [node("Mul", ["x", "k"], ["p"]), node("BatchNormalization", ["p", *names], ["y"], "bn")]
    m = model(nodes, init, ["N", 3, 5])
    m.graph.input.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [1, 3, 1]))
    path = bn.save(m, tmp_path / "model.onnx")
    k = np.float32([[[1], [2], [3]]])
    x = draw(tmp_path, shape=(3, 5), k=k)
    recalibrate(path, tmp_path / "data.npz", tmp_path / "out.onnx", "--batch", 6)
    mean, var = moments((x * k).astype(np.float64))
    assert np.allclose(statistics(tmp_path / "out.onnx")["bn"], [mean, var], rtol=1e-5)


# ---- what it cannot do ----


def refused(path, data, *options):
    done = bn.infold("recalibrate", path, "--data", data, *options, check=False)
    assert done.returncode and not done.stdout
    return done.returncode, done.stderr


def test_folded_models_say_why(pictures, tmp_path):
    bn.infold("optimize", DIGITS, "-o", tmp_path / "folded.onnx")
    code, text = refused(tmp_path / "folded.onnx", tmp_path / "data.npz", "-o", tmp_path / "out.onnx")
    assert code == 4 and "folded into the weights" in text and "no longer apart" in text
    assert not (tmp_path / "out.onnx").exists()


def test_written_out_models_say_why(tmp_path):
    scale, shift = np.float32(np.random.default_rng(0).uniform(0.5, 2, (2, 3, 1, 1)))
    nodes = [node("Mul", ["x", "scale"], ["m"]), node("Add", ["m", "shift"], ["y"])]
    path = bn.save(model(nodes, constants(scale=scale, shift=shift), ["N", 3, 8, 8]), tmp_path / "model.onnx")
    draw(tmp_path)
    code, text = refused(path, tmp_path / "data.npz")
    assert code == 4 and "1 written out as Mul and Add" in text


def test_data_that_is_not_finite(tmp_path):
    path, x = bn.save(conv_bn(), tmp_path / "model.onnx"), draw(tmp_path)
    x[3, 1] = np.nan
    np.savez(tmp_path / "data.npz", x=x)
    for options in [(), ("--momentum", "0.9")]:
        code, text = refused(path, tmp_path / "data.npz", *options)
        assert code == 2 and "layer 'bn': channel 0 of its input is not finite" in text


def test_too_few_values_for_a_sample_variance(tmp_path):
    init, names = parameters(trained(3))
    path = bn.save(model([node("BatchNormalization", ["x", *names], ["y"], "bn")], init, ["N", 3]), tmp_path / "m.onnx")
    draw(tmp_path, 1, (3,))
    code, text = refused(path, tmp_path / "data.npz", "--variance", "sample")
    assert code == 2 and "1 value for a channel's statistics; 2 are needed" in text


def test_wrong_data(tmp_path):
    path = bn.save(conv_bn(), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", other=np.zeros((4, 3, 8, 8), np.float32))
    assert "no array has the name of an input" in refused(path, tmp_path / "data.npz")[1]
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 5, 8, 8), np.float32))
    assert refused(path, tmp_path / "data.npz")[0] == 2
    (tmp_path / "empty").mkdir()
    assert "no .npz file" in refused(path, tmp_path / "empty")[1]
    assert refused(path, tmp_path / "nothing.npz")[0] == 3
