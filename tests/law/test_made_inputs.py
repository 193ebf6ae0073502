"""`infold verify` and `infold verify --bits` make inputs by one rule: the first sizes that the model runs on."""

import os
import pathlib
import subprocess

import onnx.parser
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
ROWS = "same bits when rows of a batch of 4 run alone"


def infold(*args, code=0):
    done = subprocess.run([COMMAND, *args], capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def save(folder, text):
    onnx.save(onnx.parser.parse_model(HEAD + text), folder / "m.onnx")
    return folder / "m.onnx"


def numbers(n):
    return ", ".join(str((i * 5 % 17 - 8) / 16) for i in range(n))


# Exporters that trace leave dimensions free, and write sizes that they saw into shapes.
TRACED = {
    "constant": "t (float[N,T] x) => (float[N,A,B] y) <int64[3] s = {-1, 37, 1}> { y = Reshape(x, s) }",
    "computed": """t (float[N,T] x) => (float[N,A,B] y) {
        n = Shape<start = 0, end = 1>(x)
        t = Constant<value = int64[1] {37}>()
        one = Constant<value = int64[1] {1}>()
        s = Concat<axis = 0>(n, t, one)
        y = Reshape(x, s) }""",
    "window": "t (float[N,1,T] x) => (float[N,1,U] y) <float[1,1,3] w = {1, 2, 3}> { y = Conv<dilations = [450]>(x, w) }",
    "index": """t (float[N,T] x) => (float[N] y) <int64 i = {600}> { y = Gather<axis = 1>(x, i) }""",
}


@pytest.mark.parametrize("name", TRACED)
def test_sizes_that_the_model_takes(tmp_path, name):
    model = save(tmp_path, TRACED[name])
    assert "2 runs of each" in infold("verify", model, model)
    assert ROWS in infold("verify", "--bits", model)


def test_one_batch_only(tmp_path):
    model = save(tmp_path, "t (float[N,8] x) => (float[2,4] y) <int64[2] s = {2, 4}> { y = Reshape(x, s) }")
    assert "run of each" in infold("verify", model, model)
    assert "rows of a batch" not in infold("verify", "--bits", model)


def test_rows_behind_another_dimension(tmp_path):
    """The state of a recurrent layer has the batch second: its row goes with that of the input."""
    model = save(tmp_path, """t (float[N,T,3] x, float[1,N,5] h) => (float[A,B,N,5] y, float[1,N,5] k)
        <float[1,15,3] w = {%s}, float[1,15,5] r = {%s}> {
        t = Transpose<perm = [1, 0, 2]>(x)
        y, k = GRU<hidden_size = 5>(t, w, r, , , h) }""" % (numbers(45), numbers(75)))
    assert ROWS in infold("verify", "--bits", model)


def test_no_size_does(tmp_path):
    model = save(tmp_path, "t (float[N,5] x) => (float[N,N] y) { y = MatMul(x, x) }")
    assert infold("verify", "--bits", model, code=3).count("\n") == 1
    assert infold("verify", model, model, code=3).count("\n") == 1


def test_operators_of_onnx_runtime(tmp_path):
    """What sessions only know by writing it out, those that leave the graph as it is know too."""
    model = save(tmp_path, """t (float[N,8] x) => (float[N,8] y) <float s = {0.02}, uint8 z = {120}> {
        q = QuantizeLinear(x, s, z)
        p = com.microsoft.QLinearAdd(q, s, z, q, s, z, s, z)
        y = DequantizeLinear(p, s, z) }""")
    assert "2 runs of each" in infold("verify", model, model)
    assert ROWS in infold("verify", "--bits", model)
    assert "verified by" in infold("optimize", model, "-o", tmp_path / "o.onnx")
