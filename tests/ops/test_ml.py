"""ai.onnx.ml: scikit-learn's models, exported by skl2onnx, against scikit-learn's own predictions; and each operator
against a few lines of NumPy, over all the forms of its attributes.

The command is $INFOLD_BIN, or what nodes.py says."""
import itertools
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if "INFOLD_BIN" in os.environ:
    os.environ.setdefault("INFOLD", os.environ["INFOLD_BIN"])
from nodes import COMMAND, Failed, Nodes, refuses

ML = "ai.onnx.ml"
RNG = np.random.default_rng(9)
F32 = np.float32


def run(model, feeds, *options):
    """Outputs by name, through .npz files. Maps come as a matrix, with their keys beside them."""
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        onnx.save(model, tmp / "m.onnx")
        np.savez(tmp / "in.npz", **{k: v.astype(str) if v.dtype == object else v for k, v in feeds.items()})
        p = subprocess.run([*COMMAND, "run", tmp / "m.onnx", "--inputs", tmp / "in.npz", "--output", tmp / "out.npz",
                            *options], capture_output=True, text=True, timeout=60)
        assert p.returncode >= 0, f"ended by signal {-p.returncode}: {p.stderr}"
        if p.returncode:
            raise Failed(p.stderr.strip())
        with np.load(tmp / "out.npz") as z:
            return {k: z[k] for k in z}


# ---- scikit-learn ----

sklearn = pytest.importorskip("sklearn")
skl2onnx = pytest.importorskip("skl2onnx")
from sklearn import (cluster, compose, datasets, decomposition, ensemble, feature_selection,  # noqa: E402
                     impute, linear_model, naive_bayes, neighbors, neural_network, pipeline, preprocessing,
                     svm, tree)
from skl2onnx.common.data_types import Int64TensorType, StringTensorType  # noqa: E402

X, Y3 = datasets.make_classification(300, 10, n_informative=6, n_classes=3, random_state=0)
X = X.astype(F32)
LABELS = {"two": (Y3 > 0).astype(np.int64), "three": Y3.astype(np.int64), "text": np.array(["red", "grün", "blue"])[Y3],
          "gap": np.array([-5, 7, 1000])[Y3]}
XR, YR = datasets.make_regression(300, 10, noise=3, random_state=1)
XR = XR.astype(F32)
pytestmark = pytest.mark.filterwarnings("ignore")


def export(model, x, types=None, **options):
    return skl2onnx.to_onnx(model, None if types else x[:1], initial_types=types,
                            options={id(model): options} if options else None, target_opset={"": 21, ML: 3})


CLASSIFIERS = [
    tree.DecisionTreeClassifier(max_depth=6, random_state=0),
    ensemble.RandomForestClassifier(30, max_depth=8, random_state=0),
    ensemble.ExtraTreesClassifier(20, max_depth=6, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
    ensemble.AdaBoostClassifier(n_estimators=8, random_state=0),
    ensemble.BaggingClassifier(n_estimators=5, random_state=0),
    svm.SVC(), svm.SVC(kernel="poly"), svm.SVC(kernel="sigmoid"), svm.SVC(kernel="linear"),
    svm.SVC(probability=True, random_state=0), svm.NuSVC(nu=.3, probability=True, random_state=0),
    svm.SVC(kernel="poly", degree=2, coef0=1., gamma=.1, probability=True, random_state=0),
    linear_model.LogisticRegression(), linear_model.RidgeClassifier(), linear_model.SGDClassifier(random_state=0),
    linear_model.Perceptron(),
    neighbors.KNeighborsClassifier(5),
    naive_bayes.GaussianNB(), naive_bayes.BernoulliNB(),
    neural_network.MLPClassifier((12,), max_iter=50, random_state=0),
    ensemble.VotingClassifier([("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=4, random_state=0))], voting="soft",
                              flatten_transform=False),
    pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(5), linear_model.LogisticRegression()),
    pipeline.make_pipeline(feature_selection.SelectKBest(k=6), preprocessing.MinMaxScaler(), svm.SVC(probability=True, random_state=0)),
]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_classifier(model, labels):
    y = LABELS[labels]
    model = sklearn.base.clone(model).fit(X, y)
    got = list(run(export(model, X, zipmap=False), {"X": X}).values())
    np.testing.assert_array_equal(got[0], model.predict(X))
    if getattr(model, "probability", True) and hasattr(model, "predict_proba"):
        np.testing.assert_allclose(got[1], model.predict_proba(X), rtol=1e-5, atol=2e-6)
        return
    scores = model.decision_function(X)
    if scores.ndim == 1 and got[1].shape[1] == 2:  # libsvm's sign is the opposite of scikit-learn's
        scores = np.stack([scores, -scores] if isinstance(model, svm.SVC) else [-scores, scores], 1)
    np.testing.assert_allclose(got[1], scores.reshape(got[1].shape), rtol=1e-5, atol=2e-5)


REGRESSORS = [
    tree.DecisionTreeRegressor(max_depth=6, random_state=0),
    ensemble.RandomForestRegressor(20, max_depth=6, random_state=0),
    ensemble.ExtraTreesRegressor(20, max_depth=6, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0),
    svm.SVR(), svm.SVR(kernel="poly", degree=2), svm.SVR(kernel="sigmoid"), svm.SVR(kernel="linear"), svm.NuSVR(),
    svm.LinearSVR(random_state=0), linear_model.LinearRegression(), linear_model.Ridge(), linear_model.Lasso(),
    neighbors.KNeighborsRegressor(4),
    neural_network.MLPRegressor(hidden_layer_sizes=(12,), max_iter=50, random_state=0), linear_model.BayesianRidge(), linear_model.HuberRegressor(max_iter=1000),
    pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.Ridge()),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
@pytest.mark.parametrize("targets", [1, 3])
def test_regressor(model, targets):
    y = YR if targets == 1 else np.stack([YR, XR[:, 0] * 9, -YR], 1)
    if targets > 1 and isinstance(model, (svm.SVR, svm.NuSVR, svm.LinearSVR, ensemble.GradientBoostingRegressor, linear_model.BayesianRidge,
                                           linear_model.HuberRegressor)):
        pytest.skip("one target only")
    model = sklearn.base.clone(model).fit(XR, y)
    (got,) = run(export(model, XR), {"X": XR}).values()
    want = model.predict(XR)
    np.testing.assert_allclose(got, want.reshape(got.shape), rtol=2e-6, atol=2e-6 * abs(want).max())


def test_one_class():
    model = svm.OneClassSVM(nu=.3).fit(XR)
    label, score = run(export(model, XR), {"X": XR}).values()
    np.testing.assert_array_equal(label.ravel(), model.predict(XR))
    np.testing.assert_allclose(score.ravel(), model.decision_function(XR), rtol=1e-5, atol=2e-6)


HOLES = np.where(RNG.random(XR.shape) < .2, np.nan, XR).astype(F32)
NUMBERS = [preprocessing.StandardScaler(), preprocessing.RobustScaler(), preprocessing.MaxAbsScaler(),
           preprocessing.MinMaxScaler(), preprocessing.Normalizer("l1"), preprocessing.Normalizer("l2"),
           preprocessing.Normalizer("max"), preprocessing.Binarizer(threshold=.3), preprocessing.PolynomialFeatures(2),
           preprocessing.KBinsDiscretizer(4, encode="ordinal", quantile_method="linear")]
IMPUTERS = [impute.SimpleImputer(), impute.SimpleImputer(strategy="median"),
            impute.SimpleImputer(strategy="constant", fill_value=7.)]


@pytest.mark.parametrize("model,x", [(m, XR) for m in NUMBERS] + [(m, HOLES) for m in IMPUTERS], ids=str)
def test_transformer(model, x):
    (got,) = run(export(sklearn.base.clone(model).fit(x), x), {"X": x}).values()
    np.testing.assert_allclose(got, model.fit_transform(x), rtol=1e-5, atol=1e-6)


WORDS = RNG.choice(["a", "b", "é", "a long word"], (60, 2)).astype(object)
CODES = RNG.integers(-2, 3, (60, 2))


@pytest.mark.parametrize("x,kind", [(WORDS, StringTensorType), (CODES, Int64TensorType)], ids=["words", "codes"])
@pytest.mark.parametrize("model", [preprocessing.OneHotEncoder(), preprocessing.OneHotEncoder(drop="first"),
                                   preprocessing.OrdinalEncoder(), preprocessing.LabelEncoder(),
                                   preprocessing.LabelBinarizer()], ids=str)
def test_encoder(model, x, kind):
    if isinstance(model, (preprocessing.LabelEncoder, preprocessing.LabelBinarizer)):
        x = x[:, 0]
    model = sklearn.base.clone(model).fit(x)
    want = model.transform(x)
    want = want.toarray() if hasattr(want, "toarray") else want
    (got,) = run(export(model, x, types=[("X", kind([None, *x.shape[1:]]))]), {"X": x}).values()
    np.testing.assert_array_equal(got.reshape(want.shape), want)


@pytest.mark.parametrize("model", [decomposition.PCA(4), decomposition.TruncatedSVD(4, random_state=0), cluster.KMeans(4, n_init=2, random_state=0),
                                   feature_selection.VarianceThreshold(.5), preprocessing.PowerTransformer(),
                                   preprocessing.KBinsDiscretizer(5, encode="onehot-dense", quantile_method="linear")], ids=str)
def test_features(model):
    model = sklearn.base.clone(model).fit(XR)
    got = list(run(export(model, XR), {"X": XR}).values())[-1]
    np.testing.assert_allclose(got, model.transform(XR), rtol=1e-4, atol=2e-5)


def test_isolation_forest():
    model = ensemble.IsolationForest(n_estimators=20, random_state=0).fit(XR)
    label, score = run(skl2onnx.to_onnx(model, XR[:1], target_opset={"": 15, ML: 3}), {"X": XR}).values()
    np.testing.assert_allclose(score.ravel(), model.decision_function(XR), rtol=1e-4, atol=1e-5)
    sure = abs(model.decision_function(XR)) > 1e-5
    np.testing.assert_array_equal(label.ravel()[sure], model.predict(XR)[sure])


def test_columns():
    """Columns made ready each in its own way, holes filled, before a forest."""
    x = np.concatenate([HOLES[:, :4], XR[:, 4:]], 1)
    ready = compose.ColumnTransformer([
        ("filled", pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler()), [0, 1, 2, 3]),
        ("bins", preprocessing.KBinsDiscretizer(4, encode="onehot-dense", quantile_method="linear"), [5, 4]),
        ("ratio", preprocessing.MaxAbsScaler(), [7])], remainder="passthrough")
    model = pipeline.make_pipeline(ready, ensemble.RandomForestClassifier(10, max_depth=4, random_state=0)).fit(x, YR > 0)
    got = list(run(export(model, x, zipmap=False), {"X": x}).values())
    np.testing.assert_array_equal(got[0], model.predict(x))
    np.testing.assert_allclose(got[1], model.predict_proba(x), rtol=1e-5, atol=1e-6)


def test_zipmap():
    for y in LABELS["three"], LABELS["text"]:
        model = tree.DecisionTreeClassifier(max_depth=4).fit(X, y)
        out = run(export(model, X), {"X": X})
        maps, keys = [v for k, v in out.items() if v.dtype.kind == "f"][0], [v for k, v in out.items() if k.endswith(".keys")][0]
        order = np.argsort(model.classes_)
        np.testing.assert_array_equal(keys, model.classes_[order])
        np.testing.assert_allclose(maps, model.predict_proba(X)[:, order], rtol=1e-6)


# ---- trees, against a walk in Python ----

MODES = {"BRANCH_LEQ": np.less_equal, "BRANCH_LT": np.less, "BRANCH_GTE": np.greater_equal, "BRANCH_GT": np.greater,
         "BRANCH_EQ": np.equal, "BRANCH_NEQ": np.not_equal}
POST = {"NONE": lambda s: s, "LOGISTIC": lambda s: 1 / (1 + np.exp(-s)),
        "SOFTMAX": lambda s: np.exp(s) / np.exp(s).sum(1, keepdims=True),
        "SOFTMAX_ZERO": lambda s: np.where(s == 0, 0, np.exp(s)) / np.where(s == 0, 0, np.exp(s)).sum(1, keepdims=True)}


def random_trees(n_trees, depth, n_features, n_targets, modes, rng, values):
    """Nodes as dictionaries, children by number; leaves have votes."""
    trees = []
    for _ in range(n_trees):
        nodes = []

        def grow(d):
            at = len(nodes)
            nodes.append({"mode": "LEAF", "votes": [(int(t), float(F32(rng.normal()))) for t in
                                                    rng.choice(n_targets, rng.integers(0, n_targets + 1), False)]})
            if d < depth and rng.random() < .9:
                nodes[at] = {"mode": str(rng.choice(modes)), "feature": int(rng.integers(n_features)),
                             "value": float(rng.choice(values)), "missing": int(rng.integers(2))}
                nodes[at]["no"], nodes[at]["yes"] = grow(d + 1), grow(d + 1)
            return at
        grow(0)
        trees.append(nodes)
    return trees


def leaf_votes(nodes, row):
    n = nodes[0]
    while n["mode"] != "LEAF":
        x = row[n["feature"]]
        yes = n["missing"] if np.isnan(x) else MODES[n["mode"]](x, n["value"]) if n["mode"] in MODES else x in n["members"]
        n = nodes[n["yes" if yes else "no"]]
    return n["votes"]


def scores_of(trees, x, n_targets, aggregate="SUM"):
    out = np.zeros((len(x), n_targets))
    for i, row in enumerate(x):
        votes = [[] for _ in range(n_targets)]
        for t, w in itertools.chain.from_iterable(leaf_votes(nodes, row) for nodes in trees):
            votes[t].append(w)
        reduce = {"SUM": sum, "AVERAGE": lambda v: sum(v) / len(trees), "MIN": lambda v: min(v, default=0),
                  "MAX": lambda v: max(v, default=0)}[aggregate]
        out[i] = [reduce(v) for v in votes]
    return out


def listed(trees, prefix, shuffle=None, as_tensor=False):
    """The attributes of the older operators. Nodes may come in any order."""
    rows = [(t, i, n) for t, nodes in enumerate(trees) for i, n in enumerate(nodes)]
    votes = [(t, i, *v) for t, i, n in rows for v in n.get("votes", ())]
    if shuffle is not None:
        rows = [rows[i] for i in shuffle.permutation(len(rows))]
        votes = [votes[i] for i in shuffle.permutation(len(votes))]
    name = {"target": ["target_treeids", "target_nodeids", "target_ids", "target_weights"],
            "class": ["class_treeids", "class_nodeids", "class_ids", "class_weights"]}[prefix]
    values, weights = [n.get("value", 0.) for _, _, n in rows], [v[3] for v in votes]
    a = {"nodes_treeids": [t * 3 for t, _, _ in rows], "nodes_nodeids": [i for _, i, _ in rows],
         "nodes_modes": [n["mode"] for _, _, n in rows], "nodes_featureids": [n.get("feature", 0) for _, _, n in rows],
         "nodes_truenodeids": [n.get("yes", 0) for _, _, n in rows],
         "nodes_falsenodeids": [n.get("no", 0) for _, _, n in rows],
         "nodes_missing_value_tracks_true": [n.get("missing", 0) for _, _, n in rows],
         name[0]: [v[0] * 3 for v in votes], name[1]: [v[1] for v in votes], name[2]: [v[2] for v in votes]}
    if as_tensor:
        a["nodes_values_as_tensor"] = numpy_helper.from_array(np.array(values))
        a[name[3] + "_as_tensor"] = numpy_helper.from_array(np.array(weights))
    else:
        a |= {"nodes_values": values, name[3]: weights}
    return a


GRID = np.arange(-4, 5) / 2


def grid_samples(n, n_features):
    """Thresholds are met exactly, and some features are missing."""
    x = RNG.choice(GRID, (n, n_features)).astype(F32)
    return np.where(RNG.random(x.shape) < .1, np.nan, x).astype(F32)


@pytest.mark.parametrize("modes", [["BRANCH_LEQ"], ["BRANCH_LT"], ["BRANCH_GTE"], list(MODES)], ids=str)
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_tree_regressor(modes, aggregate):
    trees = random_trees(7, 5, 6, 3, modes, RNG, GRID)
    x = grid_samples(203, 6)
    base = [.5, -1., 2.]
    want = scores_of(trees, x, 3, aggregate)
    nodes = Nodes(3, ML)
    for shuffle in None, RNG:
        nodes.add("TreeEnsembleRegressor", [x], [want.astype(F32)], n_targets=3, aggregate_function=aggregate,
                  **listed(trees, "target", shuffle))
    nodes.add("TreeEnsembleRegressor", [x], [(want + base).astype(F32)], n_targets=3, base_values=base,
              aggregate_function=aggregate, **listed(trees, "target"))
    nodes.add("TreeEnsembleRegressor", [x.astype(np.float64)], [want.astype(F32)], n_targets=3,
              aggregate_function=aggregate, **listed(trees, "target", as_tensor=True))
    nodes.add("TreeEnsembleRegressor", [np.nan_to_num(x).astype(np.int64)],
              [scores_of(trees, np.nan_to_num(x).astype(np.int64), 3, aggregate).astype(F32)], n_targets=3,
              aggregate_function=aggregate, **listed(trees, "target"))
    nodes.check(ulps=1)


@pytest.mark.parametrize("modes", [["BRANCH_LEQ"], ["BRANCH_LT"], ["BRANCH_GT"], ["BRANCH_GTE"], ["BRANCH_EQ", "BRANCH_NEQ"],
                                   list(MODES)], ids=str)
@pytest.mark.parametrize("n", [1, 3, 8, 21])
def test_tree_thresholds_at_the_edges(modes, n):
    edges = np.array([-np.inf, np.inf, np.nan, 0., -0., 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1], F32)
    trees = random_trees(13, 5, 6, 3, modes, RNG, edges)
    nodes = Nodes(3, ML)
    for of in edges, edges[~np.isnan(edges)]:
        x = RNG.choice(of, (n, 6))
        nodes.add("TreeEnsembleRegressor", [x], [scores_of(trees, x, 3).astype(F32)], n_targets=3, **listed(trees, "target"))
    nodes.check(ulps=1)


def test_double_thresholds_are_not_rounded():
    third = 1 / 3
    trees = [[{"mode": "BRANCH_LEQ", "feature": 0, "value": third, "no": 1, "yes": 2},
              {"mode": "LEAF", "votes": [(0, 0.)]}, {"mode": "LEAF", "votes": [(0, 1.)]}]]
    x = np.array([[np.nextafter(third, 0)], [third], [np.nextafter(third, 1)]])
    Nodes(3, ML).add("TreeEnsembleRegressor", [x], [np.array([[1], [1], [0]], F32)], n_targets=1,
                     **listed(trees, "target", as_tensor=True)).check()


@pytest.mark.parametrize("post", POST)
def test_tree_classifier(post):
    trees = random_trees(5, 4, 4, 3, ["BRANCH_LEQ"], RNG, GRID)
    x = grid_samples(70, 4)
    raw = scores_of(trees, x, 3)
    ids, words = np.array([10, -3, 5]), np.array(["x", "ÿ", "z"], object)
    nodes = Nodes(3, ML)
    for base in [0, 0, 0], [.5, -1, 2]:
        s = raw + base
        want = POST[post](s).astype(F32)
        a = listed(trees, "class") | ({"base_values": base} if any(base) else {})
        nodes.add("TreeEnsembleClassifier", [x], [ids[s.argmax(1)], want], post_transform=post, classlabels_int64s=ids, **a)
        nodes.add("TreeEnsembleClassifier", [x], [words[s.argmax(1)], want], post_transform=post,
                  classlabels_strings=list(words), **a)
    nodes.check(ulps=4, atol=1e-7)


def test_two_classes_with_one_score():
    """What converters write for two classes: votes for the first alone are the score of the second."""
    leaves = [{"mode": "BRANCH_LEQ", "feature": 0, "value": 0., "no": 1, "yes": 2}]
    x = np.array([[1], [-1]], F32)
    nodes = Nodes(3, ML)
    for weights, post, scores in (((.75, .25), "NONE", [[.25, .75], [.75, .25]]),
                                  ((2., -1.), "NONE", [[-2, 2], [1, -1]]),
                                  ((2., -1.), "LOGISTIC", POST["LOGISTIC"](np.array([[-2., 2], [1, -1]])))):
        votes = [{"mode": "LEAF", "votes": [(0, w)]} for w in weights]
        nodes.add("TreeEnsembleClassifier", [x], [np.array([8, 7]), np.array(scores, F32)], post_transform=post,
                  classlabels_int64s=[7, 8], **listed([leaves + votes], "class"))
    nodes.check(ulps=1)


def test_hist_gradient_boosting():
    """NaN goes where the trees of scikit-learn's histogram boosting send it."""
    model = ensemble.HistGradientBoostingRegressor(max_iter=15, random_state=0).fit(HOLES, YR)
    trees = []
    for (predictor,) in model._predictors:
        trees.append([{"mode": "LEAF", "votes": [(0, float(n["value"]))]} if n["is_leaf"] else
                      {"mode": "BRANCH_LEQ", "feature": int(n["feature_idx"]), "value": float(n["num_threshold"]),
                       "missing": int(n["missing_go_to_left"]), "yes": int(n["left"]), "no": int(n["right"])}
                      for n in predictor.nodes])
    base = float(np.ravel(model._baseline_prediction)[0])
    want = model.predict(HOLES).reshape(-1, 1)
    Nodes(3, ML).add("TreeEnsembleRegressor", [HOLES.astype(np.float64)], [want.astype(F32)], n_targets=1,
                     base_values_as_tensor=numpy_helper.from_array(np.array([base])),
                     **listed(trees, "target", as_tensor=True)).check(ulps=2)


def flat(trees, dtype):
    """TreeEnsemble's attributes. Every tree begins with an interior node."""
    a = {k: [] for k in ("nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs",
                         "nodes_falseleafs", "nodes_missing_value_tracks_true", "leaf_targetids", "tree_roots")}
    modes, splits, weights, members = [], [], [], []
    names = [*MODES, "BRANCH_MEMBER"]
    for nodes in trees:
        place, first = {}, len(modes)
        for i, n in enumerate(nodes):
            if n["mode"] == "LEAF":
                place[i] = (1, len(weights))
                (t, w), = n["votes"]
                a["leaf_targetids"].append(t), weights.append(w)
            else:
                place[i] = (0, len(modes))
                modes.append(names.index(n["mode"])), splits.append(n.get("value", 0))
                members += [*n["members"], np.nan] if "members" in n else []
                a["nodes_featureids"].append(n["feature"])
                a["nodes_missing_value_tracks_true"].append(n.get("missing", 0))
        for n in nodes:
            if n["mode"] != "LEAF":
                for side, leaf, to in ("yes", "nodes_trueleafs", "nodes_truenodeids"), ("no", "nodes_falseleafs", "nodes_falsenodeids"):
                    a[leaf].append(place[n[side]][0]), a[to].append(place[n[side]][1])
        a["tree_roots"].append(first)
    a |= {"nodes_modes": numpy_helper.from_array(np.array(modes, np.uint8)),
          "nodes_splits": numpy_helper.from_array(np.array(splits, dtype)),
          "leaf_weights": numpy_helper.from_array(np.array(weights, dtype))}
    return a | ({"membership_values": numpy_helper.from_array(np.array(members, dtype))} if members else {})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("aggregate", range(4))
def test_tree_ensemble(dtype, aggregate):
    trees = random_trees(6, 5, 5, 2, [*MODES, "BRANCH_MEMBER"], RNG, GRID)
    trees = [t for t in trees if t[0]["mode"] != "LEAF"]
    for n in itertools.chain.from_iterable(trees):
        if n["mode"] == "BRANCH_MEMBER":
            n["members"] = list(RNG.choice(GRID, RNG.integers(0, 4), False))
        elif n["mode"] == "LEAF":
            n["votes"] = [(int(RNG.integers(2)), float(RNG.choice(GRID)))]
    x = grid_samples(90, 5).astype(dtype)
    want = scores_of(trees, x, 2, ["AVERAGE", "SUM", "MIN", "MAX"][aggregate])
    Nodes(5, ML).add("TreeEnsemble", [x], [want.astype(dtype)], n_targets=2, aggregate_function=aggregate,
                     **flat(trees, dtype)).check(ulps=1)


SPLIT = {"mode": "BRANCH_LEQ", "feature": 0, "value": 0., "no": 1, "yes": 2}
LEAF = {"mode": "LEAF", "votes": [(0, 1.)]}


@pytest.mark.parametrize("trees,word", [
    ([[SPLIT | {"no": 0}, LEAF, LEAF]], "no root"), ([[SPLIT | {"yes": 9}, LEAF, LEAF]], "no node 9"),
    ([[SPLIT | {"feature": 3}, LEAF, LEAF]], "feature 3"), ([[SPLIT | {"feature": -1}, LEAF, LEAF]], "feature -1"),
    ([[SPLIT, LEAF, LEAF | {"votes": [(4, 1.)]}]], "target 4"), ([[SPLIT | {"mode": "BRANCH"}, LEAF, LEAF]], "mode"),
    ([[SPLIT, SPLIT | {"no": 2, "yes": 3}, SPLIT | {"no": 1, "yes": 3}, LEAF]], "second time")], ids=str)
def test_broken_trees(trees, word):
    x = np.zeros((2, 2), F32)
    refuses(Nodes(3, ML).add("TreeEnsembleRegressor", [x], [x], n_targets=1, **listed(trees, "target")), word)


@pytest.mark.parametrize("attribute", ["base_values_as_tensor", "nodes_values_as_tensor", "target_weights_as_tensor"])
def test_texts_instead_of_numbers(attribute):
    x, texts = np.zeros((2, 2), F32), numpy_helper.from_array(np.array(["1"] * 3, object))
    a = listed([[SPLIT, LEAF, LEAF]], "target", as_tensor=True) | {attribute: texts}
    refuses(Nodes(3, ML).add("TreeEnsembleRegressor", [x], [x], n_targets=1, **a), "a tensor of string")



def test_broken_flat_trees():
    a = flat([[SPLIT, LEAF, LEAF]], F32)
    x = np.zeros((2, 2), F32)
    for change, word in (({"nodes_truenodeids": [5]}, "leads to"), ({"tree_roots": [1]}, "leads to"),
                         ({"nodes_trueleafs": [0], "nodes_truenodeids": [0]}, "second time"),
                         ({"nodes_modes": numpy_helper.from_array(np.array([6], np.uint8))}, "membership"),
                         ({"nodes_modes": numpy_helper.from_array(np.array([7], np.uint8))}, "mode"),
                         ({"leaf_targetids": [0]}, "leaf_weights"), ({"aggregate_function": 4}, "aggregate"),
                         ({"post_transform": -1}, "post_transform")):
        refuses(Nodes(5, ML).add("TreeEnsemble", [x], [x], **(a | {"n_targets": 1} | change)), word)


# ---- scores ----

def test_linear_transforms():
    from scipy.stats import norm
    post = POST | {"PROBIT": norm.ppf}
    x = RNG.uniform(-1, 1, (20, 4)).astype(F32)
    w, b = RNG.uniform(0, .1, (3, 4)).astype(F32), np.array([.3, .4, .5], F32)
    s = x.astype(np.float64) @ w.T.astype(np.float64) + b
    nodes = Nodes(1, ML)
    for name, f in post.items():
        nodes.add("LinearRegressor", [x], [f(s).astype(F32)], coefficients=w.ravel(), intercepts=b, targets=3,
                  post_transform=name)
        nodes.add("LinearClassifier", [x], [np.array([5, 6, 7])[s.argmax(1)], f(s).astype(F32)],
                  coefficients=w.ravel(), intercepts=b, classlabels_ints=[5, 6, 7], post_transform=name)
    one = s[:, :1]
    nodes.add("LinearClassifier", [x], [np.where(one[:, 0] > 0, "b", "a").astype(object), np.hstack([-one, one]).astype(F32)],
              coefficients=w[0], intercepts=b[:1], classlabels_strings=["a", "b"])
    nodes.check(ulps=8, atol=1e-7)


def test_probit_to_its_ends():
    from scipy.stats import norm
    p = np.array([[0, 1e-30, 1e-9, .02, .3, .5, .7, .97575, 1 - 2**-20, 1, 1.5, -1]]).T
    got = {}
    nodes = Nodes(1, ML).add("LinearRegressor", [p], [lambda a: got.setdefault("y", a) is a], coefficients=[1.],
                             post_transform="PROBIT")
    nodes.check()
    np.testing.assert_allclose(got["y"], norm.ppf(p), rtol=3e-7)


# ---- features ----

def test_label_encoder():
    text = np.array([["a", "b"], ["zz", ""]], object)
    ints, floats = np.array([3, -1, 9, 3]), np.array([1.5, np.nan, -0., 0.], F32)
    nodes = Nodes(2, ML)
    nodes.add("LabelEncoder", [text], [np.array([[5, 6], [-1, 7]])], keys_strings=["a", "b", ""], values_int64s=[5, 6, 7])
    nodes.add("LabelEncoder", [ints], [np.array([.5, 2, -0., .5], F32)], keys_int64s=[3, -1], values_floats=[.5, 2])
    nodes.add("LabelEncoder", [ints], [np.array(["x", "?", "?", "x"], object)], keys_int64s=[3], values_strings=["x"],
              default_string="?")
    nodes.add("LabelEncoder", [floats], [np.array([1, 2, 3, -7])], keys_floats=[1.5, float("nan"), -0.], values_int64s=[1, 2, 3],
              default_int64=-7)
    nodes.check()


def test_label_encoder_4():
    nodes = Nodes(4, ML)
    tensor = numpy_helper.from_array
    types = [np.int16, np.int32, np.int64, np.float32, np.float64]
    for a, b in itertools.product(types, types):
        keys, values = np.array([1, 7, 7, 100], a), np.array([10, 20, 30, 40], b)
        default = np.array([-5], b)
        nodes.add("LabelEncoder", [np.array([[7, 100], [8, 1]], a)], [np.array([[30, 40], [-5, 10]], b)],
                  keys_tensor=tensor(keys), values_tensor=tensor(values), default_tensor=tensor(default))
    other_nan = np.array([0x7ff8000000000001], np.uint64).view(np.float64)
    nodes.add("LabelEncoder", [np.r_[other_nan, 0., 2.]], [np.array(["nan", "zero", "_Unused"], object)],
              keys_tensor=tensor(np.array([np.nan, -0.])), values_strings=["nan", "zero"])
    nodes.check()
    refuses(Nodes(4, ML).add("LabelEncoder", [np.array([1])], [np.array([1])], keys_int64s=[1, 2], values_int64s=[1]), "2 keys")
    refuses(Nodes(4, ML).add("LabelEncoder", [np.array([1])], [np.array([1])], keys_int64s=[1]), "values_")


def test_strings_and_integers():
    text, ints = np.array(["b", "a", "q"], object), np.array([1, 0, 5])
    nodes = Nodes(1, ML)
    nodes.add("LabelEncoder", [text], [np.array([1, 0, -1])], classes_strings=["a", "b"])
    nodes.add("LabelEncoder", [ints], [np.array(["b", "a", "none"], object)], classes_strings=["a", "b"], default_string="none")
    nodes.add("CategoryMapper", [text], [np.array([9, 8, 3])], cats_strings=["a", "b"], cats_int64s=[8, 9], default_int64=3)
    nodes.add("CategoryMapper", [ints], [np.array(["_Unused", "z", "y"], object)], cats_strings=["y", "z"], cats_int64s=[5, 0])
    nodes.check()


def test_one_hot_encoder():
    nodes = Nodes(1, ML)
    eye = np.eye(3, dtype=F32)
    for dtype in np.int64, np.int32, np.float32, np.float64:
        nodes.add("OneHotEncoder", [np.array([[1, 5], [-7, 4]], dtype)], [np.array([[eye[0], eye[1]], [eye[2], 0 * eye[0]]])],
                  cats_int64s=[1, 5, -7])
    nodes.add("OneHotEncoder", [np.array([5.9, -7.2])], [eye[1:]], cats_int64s=[1, 5, -7])
    nodes.add("OneHotEncoder", [np.array(["b", "a"], object)], [np.array([[0, 1], [1, 0]], F32)], cats_strings=["a", "b"])
    nodes.check()
    refuses(Nodes(1, ML).add("OneHotEncoder", [np.array([2])], [eye], cats_int64s=[1], zeros=0), "category")


def test_imputer():
    nodes = Nodes(1, ML)
    for dtype in np.float32, np.float64:
        x = np.array([[np.nan, 1], [2, np.nan]], dtype)
        nodes.add("Imputer", [x], [np.array([[8, 1], [2, 9]], dtype)], imputed_value_floats=[8., 9.], replaced_value_float=np.nan)
        nodes.add("Imputer", [x], [np.array([[np.nan, 5], [2, np.nan]], dtype)], imputed_value_floats=[5.], replaced_value_float=1.)
    for dtype in np.int32, np.int64:
        nodes.add("Imputer", [np.array([[0, 1], [2, 0]], dtype)], [np.array([[7, 1], [2, -7]], dtype)],
                  imputed_value_int64s=[7, -7], replaced_value_int64=0)
    nodes.check()
    refuses(Nodes(1, ML).add("Imputer", [np.zeros((2, 3), F32)], [np.zeros(1)], imputed_value_floats=[1., 2.]), "imputed_value_floats")


def test_scaler_normalizer_binarizer():
    nodes = Nodes(1, ML)
    for dtype in np.float32, np.float64, np.int64, np.int32:
        x = np.array([[1, -2, 4], [0, 0, 0]], dtype)
        f = x.astype(np.float64)
        nodes.add("Scaler", [x], [((f - [1, 2, 3]) * [.5, 2, 4]).astype(F32)], offset=[1., 2., 3.], scale=[.5, 2., 4.])
        nodes.add("Scaler", [x], [((f - 1) * 2).astype(F32)], offset=[1.], scale=[2.])
        for norm, n in ("MAX", 4), ("L1", 7), ("L2", np.sqrt(21)):
            nodes.add("Normalizer", [x], [(f / n).astype(F32)], norm=norm)
        nodes.add("Normalizer", [x[0]], [(f[0] / 7).astype(F32)], norm="L1")
        nodes.add("Binarizer", [x], [(x > 0.5).astype(dtype)], threshold=.5)
    nodes.check(ulps=1)


def test_array_feature_extractor():
    x = np.arange(24).reshape(2, 3, 4)
    nodes = Nodes(1, ML)
    for a in x.astype(F32), x, x.astype(str).astype(object), x.astype(np.int32), x.astype(np.float64):
        nodes.add("ArrayFeatureExtractor", [a, np.array([[3, 0, 3]])], [a[..., [3, 0, 3]]])
        nodes.add("ArrayFeatureExtractor", [a[0, 0], np.array([2])], [a[0, :1, 2:3]])
    nodes.check()
    for bad in -1, 4:
        refuses(Nodes(1, ML).add("ArrayFeatureExtractor", [x, np.array([bad])], [x]), str(bad))


def test_feature_vectorizer():
    a, b, c = np.array([[1, 2], [3, 4]], F32), np.array([[5], [6]], F32), np.array([[7, 8, 9], [1, 1, 1]], F32)
    nodes = Nodes(1, ML)
    nodes.add("FeatureVectorizer", [a, b, c], [np.hstack([a, b, c])], inputdimensions=[2, 1, 3])
    nodes.add("FeatureVectorizer", [a, b, c], [np.hstack([a[:, :1], b, b * 0, c])], inputdimensions=[1, 2, 3])
    nodes.add("FeatureVectorizer", [a[0], a[1]], [np.array([[1, 2, 3, 4]], F32)], inputdimensions=[2, 2])
    nodes.add("FeatureVectorizer", [a.astype(np.int64), b.astype(np.int64)], [np.hstack([a, b])], inputdimensions=[2, 1])
    nodes.check()


# ---- maps ----

def map_model(op, key, value, **attrs):
    types = helper.make_map_type_proto(key, helper.make_tensor_type_proto(value, []))
    node = helper.make_node(op, ["m"], ["y"], domain=ML, **attrs)
    graph = helper.make_graph([node], "g", [helper.make_value_info("m", types)], [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(ML, 3)], ir_version=10)


def run_map(model, keys, values):
    m = onnx.MapProto()
    keys, values = np.asarray(keys), np.asarray(values)
    m.key_type = TensorProto.STRING if keys.dtype.kind in "OU" else TensorProto.INT64
    if m.key_type == TensorProto.STRING:
        m.string_keys.extend(str(k).encode() for k in keys)
    else:
        m.keys.extend(int(k) for k in keys)
    m.values.elem_type = onnx.SequenceProto.TENSOR
    m.values.tensor_values.extend(numpy_helper.from_array(np.asarray(v, object if values.dtype.kind in "OU" else values.dtype))
                                  for v in values)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        (tmp / "in").mkdir(), (tmp / "out").mkdir()
        onnx.save(model, tmp / "m.onnx")
        (tmp / "in" / "input_0.pb").write_bytes(m.SerializeToString())
        p = subprocess.run([*COMMAND, "run", tmp / "m.onnx", "--inputs", tmp / "in", "--output-dir", tmp / "out"],
                           capture_output=True, text=True, timeout=60)
        assert p.returncode >= 0, p.stderr
        if p.returncode:
            raise Failed(p.stderr.strip())
        return numpy_helper.to_array(TensorProto.FromString((tmp / "out" / "output_0.pb").read_bytes()))


def test_dict_vectorizer():
    s, i, f, d = TensorProto.STRING, TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE
    words = map_model("DictVectorizer", s, i, string_vocabulary=["a", "c", "b", "z"])
    np.testing.assert_array_equal(run_map(words, ["c", "a"], np.array([8, 4])), [4, 8, 0, 0])
    for t, dtype in (f, F32), (d, np.float64):
        numbers = map_model("DictVectorizer", i, t, int64_vocabulary=[7, -1])
        got = run_map(numbers, [-1], np.array([.1], dtype))
        assert got.dtype == dtype and got.tolist() == [0, dtype(.1)]
    got = run_map(map_model("DictVectorizer", i, s, int64_vocabulary=[7, -1]), [7], np.array(["x"], object))
    assert [str(v) for v in got] == ["x", ""]
    with pytest.raises(Failed, match="vocabulary"):
        run_map(words, ["q"], np.array([1]))


def test_cast_map():
    s, i, f = TensorProto.STRING, TensorProto.INT64, TensorProto.FLOAT
    keys, values = [5, 0, 2], np.array([1.5, -2, 7], F32)
    np.testing.assert_array_equal(run_map(map_model("CastMap", i, f), keys, values), [[-2, 7, 1.5]])
    np.testing.assert_array_equal(run_map(map_model("CastMap", i, f, cast_to="TO_INT64"), keys, values), [[-2, 7, 1]])
    sparse = map_model("CastMap", i, f, map_form="SPARSE", max_map=6)
    np.testing.assert_array_equal(run_map(sparse, keys, values), [[-2, 0, 7, 0, 0, 1.5]])
    words = np.array(["3.5", "-1", "2"], object)
    np.testing.assert_array_equal(run_map(map_model("CastMap", i, s), keys, words), np.array([[-1, 2, 3.5]], F32))
    np.testing.assert_array_equal(run_map(map_model("CastMap", i, s, cast_to="TO_STRING"), keys, words), [["-1", "2", "3.5"]])
    with pytest.raises(Failed, match="key 5"):
        run_map(map_model("CastMap", i, f, map_form="SPARSE", max_map=5), keys, values)


# ---- laws ----

def test_same_bits_in_any_batch():
    model = ensemble.RandomForestRegressor(20, max_depth=6, random_state=0).fit(XR, YR)
    exported = export(model, XR)
    (whole,) = run(exported, {"X": XR}).values()
    (threads,) = run(exported, {"X": XR}, "--threads", "2").values()
    (reference,) = run(exported, {"X": XR}, "--backend", "ref").values()
    parts = np.concatenate([list(run(exported, {"X": XR[i:j]}).values())[0] for i, j in ((0, 1), (1, 4), (4, 100), (100, 300))])
    for other in threads, reference, parts:
        assert other.tobytes() == whole.tobytes()
