"""Attributes that count something and are not a count, and operands that are left out: one clear error each."""
import numpy as np
import pytest
from nodes import Nodes, refuses

F32 = np.float32
NOT_COUNTS = [-1, -(2**31), -(2**62), 2**40, 2**63 - 1, -(2**63)]
X3, X4 = np.zeros((2, 3, 8), F32), np.zeros((1, 4, 6, 6), F32)
WEIGHTS = np.zeros((4, 4, 3, 3), F32)

COUNTED = {
    "group of Conv": lambda n: Nodes(22).add("Conv", [X4, WEIGHTS], [X4], group=n),
    "group of ConvTranspose": lambda n: Nodes(22).add("ConvTranspose", [X4, WEIGHTS], [X4], group=n),
    "group of DeformConv": lambda n: Nodes(22).add(
        "DeformConv", [X4, WEIGHTS, np.zeros((1, 18, 4, 4), F32)], [X4], group=n),
    "group of ConvInteger": lambda n: Nodes(10).add(
        "ConvInteger", [X4.astype(np.uint8), WEIGHTS.astype(np.uint8)], [X4.astype(np.int32)], group=n),
    "hidden_size of LSTM": lambda n: Nodes(22).add(
        "LSTM", [X3, np.zeros((1, 16, 8), F32), np.zeros((1, 16, 4), F32)], [X3], hidden_size=n),
    "hidden_size of GRU": lambda n: Nodes(22).add(
        "GRU", [X3, np.zeros((1, 12, 8), F32), np.zeros((1, 12, 4), F32)], [X3], hidden_size=n),
    "q_num_heads of Attention": lambda n: Nodes(23).add(
        "Attention", [X3, X3, X3], [X3], q_num_heads=n, kv_num_heads=2),
    "kv_num_heads of Attention": lambda n: Nodes(23).add(
        "Attention", [X3, X3, X3], [X3], q_num_heads=2, kv_num_heads=n),
    "num_heads of RotaryEmbedding": lambda n: Nodes(23).add(
        "RotaryEmbedding", [X3, np.zeros((3, 2), F32), np.zeros((3, 2), F32), np.zeros((2, 3), np.int64)], [X3],
        num_heads=n),
    "output_height of RoiAlign": lambda n: Nodes(22).add(
        "RoiAlign", [X4, np.zeros((1, 4), F32), np.zeros(1, np.int64)], [X4], output_height=n),
    "num_groups of GroupNormalization": lambda n: Nodes(21).add(
        "GroupNormalization", [X4, np.ones(4, F32), np.zeros(4, F32)], [X4], num_groups=n),
    "blocksize of DepthToSpace": lambda n: Nodes(13).add("DepthToSpace", [X4], [X4], blocksize=n),
    "num_outputs of Split": lambda n: Nodes(18).add("Split", [X4], [X4, X4], axis=1, num_outputs=n),
}


@pytest.mark.parametrize("value", NOT_COUNTS)
@pytest.mark.parametrize("what", COUNTED)
def test_count(what, value):
    refuses(COUNTED[what](value))


@pytest.mark.parametrize("op,inputs,attrs", [
    ("Einsum", [X3, None], {"equation": "bij,bij->b"}),
    ("Einsum", [None, X3], {"equation": "bij,bij->b"}),
    ("Concat", [X3, None], {"axis": 0}),
    ("Sum", [X3, None], {}),
    ("Max", [None, X3], {}),
])
def test_operand_left_out(op, inputs, attrs):
    refuses(Nodes(18).add(op, inputs, [X3], **attrs), "input")


@pytest.mark.parametrize("left_out", range(5))
def test_tensor_of_adagrad_left_out(left_out):
    inputs = [F32(0.1), np.int64(0), X3, X3, X3]
    inputs[left_out] = None
    nodes = Nodes(1, "ai.onnx.preview.training").add("Adagrad", inputs, [X3, X3])
    refuses(nodes, "input")


@pytest.mark.parametrize("op,x,w", [
    ("Conv", (2, 1, 3, 3), (2, 1, 3, 3)),
    ("Conv", (1, 4, 3, 3), (3, 2, 3, 3)),
    ("ConvTranspose", (2, 1, 3, 3), (1, 2, 3, 3)),
    ("ConvTranspose", (1, 3, 3, 3), (3, 2, 3, 3)),
])
def test_channels_that_groups_cannot_divide(op, x, w):
    """Weights that are given with the run: no pass sees them."""
    refuses(Nodes(22).add(op, [np.zeros(x, F32), np.zeros(w, F32)], [X4], group=2))


@pytest.mark.parametrize("ratio", [2**32, 2**62])
def test_samples_of_a_bin(ratio):
    """So many that their count overflows."""
    refuses(Nodes(22).add("RoiAlign", [X4, np.zeros((1, 4), F32), np.zeros(1, np.int64)], [X4], sampling_ratio=ratio),
            "samples")


@pytest.mark.parametrize("op,shapes,attrs", [
    ("DequantizeLinear", [(2**33, 3, 0, 2), (3,)], {}),
    ("AveragePool", [(2**33, 1, 0, 8)], {"kernel_shape": [1, 1]}),
    ("LinearAttention", [(2, 2**33, 0)] * 3, {"q_num_heads": 1, "kv_num_heads": 1, "update_rule": "linear"}),
    ("Attention", [(2, 2**33, 0, 8), (2, 1, 4, 8), (2, 1, 4, 8)], {}),
])
def test_many_rows_of_nothing(op, shapes, attrs):
    """Whoever looped over them would take years: the other dimensions are limited as if there were elements."""
    inputs = [np.zeros(shape, np.uint8 if op == "DequantizeLinear" and not i else F32) for i, shape in enumerate(shapes)]
    outputs = [X3] * (2 if op == "LinearAttention" else 1)
    refuses(Nodes(27).add(op, inputs, outputs, **attrs), "without elements", str(2**33))
