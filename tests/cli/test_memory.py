"""Weights in external data are mapped, never held: neither as they are, nor folded, nor packed for verifying."""

import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import helper
from test_edit import COMMAND

LAYERS, WIDTH = 24, 1024  # 4 MB each


def write(folder, convolutions):
    """A chain of matrix products with biases, or of convolutions with BatchNormalization."""
    nodes, tensors, random, x = [], [], np.random.default_rng(0), "x"
    with open(folder / "weights.bin", "wb") as file:

        def add(name, array):
            file.write(bytes(-file.tell() % 4096))
            t = onnx.TensorProto(name=name, data_type=1, dims=array.shape, data_location=onnx.TensorProto.EXTERNAL)
            for key, value in (("location", "weights.bin"), ("offset", file.tell()), ("length", array.nbytes)):
                t.external_data.add(key=key, value=str(value))
            file.write(array.tobytes())
            tensors.append(t)
            return name

        for i in range(LAYERS):
            w = (random.standard_normal((WIDTH, WIDTH)) / 32).astype("f4")
            if convolutions:
                names = [add(f"{p}{i}", random.random(WIDTH).astype("f4") + 0.5) for p in ("scale", "b", "mean", "var")]
                nodes += [helper.make_node("Conv", [x, add(f"w{i}", w[..., None, None])], [f"c{i}"]),
                          helper.make_node("BatchNormalization", [f"c{i}", *names], [f"y{i}"])]
            else:
                nodes += [helper.make_node("MatMul", [x, add(f"w{i}", w)], [f"m{i}"]),
                          helper.make_node("Add", [f"m{i}", add(f"b{i}", random.random(WIDTH).astype("f4"))], [f"y{i}"])]
            x = f"y{i}"
        size = file.tell()
    shape = ["N", WIDTH, 1, 1] if convolutions else ["N", WIDTH]
    graph = helper.make_graph(nodes, "chain", [helper.make_tensor_value_info("x", 1, shape)],
                              [helper.make_tensor_value_info(x, 1, shape)], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "in.onnx")
    return size


def peak_of_own_memory(*words):
    """Most bytes of memory that no file is behind, and what it printed."""
    process = subprocess.Popen([COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    most = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                most = max([most, *(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))])
        except OSError:
            pass
        time.sleep(0.001)
    text = process.communicate()[0]
    assert process.returncode == 0, text
    return most, text


@pytest.mark.parametrize("convolutions", [False, True], ids=["products", "convolutions"])
def test_optimize_holds_no_weights(convolutions, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    size = write(tmp_path, convolutions)
    most, _ = peak_of_own_memory("optimize", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--external-data",
                                    "out.bin", "--no-verify")
    assert most < size / 8, f"{most / 1e6:.0f} MB of {size / 1e6:.0f}"
    model = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    assert [n.op_type for n in model.graph.node] == (["Conv"] if convolutions else ["Gemm"]) * LAYERS
    onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
    assert not [p for p in tmp_path.iterdir() if p.name not in ("in.onnx", "weights.bin", "out.onnx", "out.bin")]


def test_extract_and_edit_hold_none(tmp_path):
    size = write(tmp_path, False)
    for words in (("extract", tmp_path / "in.onnx", "--inputs", "y0"), ("edit", tmp_path / "in.onnx", "--batch", "2")):
        most, _ = peak_of_own_memory(*words, "-o", tmp_path / "out.onnx", "--external-data", "out.bin")
        assert most < size / 8
        onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)


def test_verifying_is_bounded(tmp_path, monkeypatch):
    """What packing would take more memory for is run as it lies; the bound is 192 MB, and some for the rest."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("test_memory.LAYERS", 64)
    size = write(tmp_path, False)
    assert size > 250e6
    most, text = peak_of_own_memory("optimize", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--seconds", "100")
    assert "verified by 2 runs of both" in text
    assert most < 230e6, f"{most / 1e6:.0f} MB"
