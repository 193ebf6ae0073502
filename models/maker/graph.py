"""A builder of ONNX graphs with seeded random weights.

Nodes are named as a module path ("stage1.conv2"), their output "<node>.out", their initializers "<node>.weight",
".bias", ".scale", ".mean", ".var". Every helper returns the name of the value it makes.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def value_info(name, elem, *shape):
    """elem is an ONNX element type name in lower case; a dim is a number or a symbol."""
    return helper.make_tensor_value_info(name, TensorProto.DataType.Value(elem.upper()), list(shape))


class Graph:
    """A graph under construction. `rng` draws all its weights, so the order of calls is part of the model."""

    def __init__(self, rng):
        self.rng = rng
        self.nodes, self.initializers, self.sparse_initializers = [], [], []
        self.inputs, self.outputs, self.functions = [], [], []

    def body(self):
        """An empty graph for a branch or loop body, sharing the generator."""
        return Graph(self.rng)

    def input(self, name, elem, *shape):
        self.inputs.append(value_info(name, elem, *shape))
        return name

    def output(self, name, elem, *shape):
        self.outputs.append(value_info(name, elem, *shape))

    def init(self, name, array, dtype=np.float32):
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def ints(self, name, *values):
        """An int64 vector."""
        return self.init(name, values, np.int64)

    def constant(self, name, array, dtype=np.float32):
        """The same as a Constant node."""
        return self.op("Constant", name=name, value=numpy_helper.from_array(np.asarray(array, dtype=dtype)))

    def op(self, op_type, *inputs, name, out=None, domain=None, **attributes):
        """Add one node; `out` names its output, or is the tuple of its outputs' names."""
        outs = (f"{name}.out",) if out is None else (out,) if isinstance(out, str) else tuple(out)
        self.nodes.append(helper.make_node(op_type, inputs, outs, name=name, domain=domain, **attributes))
        return outs[0] if out is None or isinstance(out, str) else outs

    def normal(self, shape, std):
        return self.rng.normal(0, std, shape)

    def conv(self, name, x, c_in, c_out, k=3, stride=1, pad=None, group=1, dilation=1, bias=False, rank=2, **more):
        """He-initialised convolution, padded to keep its size unless `pad` says otherwise."""
        w = self.init(
            f"{name}.weight", self.normal((c_out, c_in // group, *[k] * rank), np.sqrt(2 * group / (c_in * k**rank)))
        )
        return self.conv_with(name, x, w, c_out, k, stride, pad, group, dilation, bias, rank, **more)

    def conv_with(self, name, x, w, c_out, k=3, stride=1, pad=None, group=1, dilation=1, bias=False, rank=2, **more):
        """A convolution whose weight is the value w."""
        inputs = [x, w] + ([self.init(f"{name}.bias", self.normal(c_out, 0.2))] if bias else [])
        pad = dilation * (k - 1) // 2 if pad is None else pad
        place = {} if "auto_pad" in more else {"pads": [pad] * (2 * rank)}
        return self.op(
            "Conv",
            *inputs,
            name=name,
            kernel_shape=[k] * rank,
            strides=[stride] * rank,
            dilations=[dilation] * rank,
            group=group,
            **place,
            **more,
        )

    def conv_transpose(self, name, x, c_in, c_out, k=2, stride=2, pad=0, group=1, bias=False, rank=2, **more):
        fan_in = c_in // group * max(1, k // stride) ** rank
        w = self.init(f"{name}.weight", self.normal((c_in, c_out // group, *[k] * rank), np.sqrt(2 / fan_in)))
        inputs = [x, w] + ([self.init(f"{name}.bias", self.normal(c_out, 0.2))] if bias else [])
        shape = {"kernel_shape": [k] * rank, "strides": [stride] * rank, "pads": [pad] * (2 * rank)}
        return self.op("ConvTranspose", *inputs, name=name, group=group, **shape, **more)

    def bn_params(self, name, c):
        """scale, bias, mean, var; the last two hold 0 and 1 until they are estimated from data."""
        scale = self.init(f"{name}.scale", self.rng.uniform(0.5, 1.5, c))
        bias = self.init(f"{name}.bias", self.normal(c, 0.3))
        return scale, bias, self.init(f"{name}.mean", np.zeros(c)), self.init(f"{name}.var", np.ones(c))

    def bn(self, name, x, c, **attributes):
        return self.op("BatchNormalization", x, *self.bn_params(name, c), name=name, **attributes)

    def conv_bn(self, name, x, c_in, c_out, k=3, act="Relu", **more):
        """name.conv, name.bn, and name.act unless act is None."""
        x = self.bn(f"{name}.bn", self.conv(f"{name}.conv", x, c_in, c_out, k, **more), c_out)
        return self.op(act, x, name=f"{name}.act") if act else x

    def dense(self, name, x, n_in, n_out, out=None, bias=True):
        """MatMul and Add, as exporters write a linear layer on more than two dims."""
        w = self.init(f"{name}.weight", self.normal((n_in, n_out), np.sqrt(1 / n_in)))
        if not bias:
            return self.op("MatMul", x, w, name=f"{name}.matmul", out=out)
        x = self.op("MatMul", x, w, name=f"{name}.matmul")
        return self.op("Add", x, self.init(f"{name}.bias", self.normal(n_out, 0.2)), name=f"{name}.add", out=out)

    def gemm(self, name, x, n_in, n_out, out=None):
        w = self.init(f"{name}.weight", self.normal((n_out, n_in), np.sqrt(1 / n_in)))
        b = self.init(f"{name}.bias", self.normal(n_out, 0.2))
        return self.op("Gemm", x, w, b, name=name, out=out, transB=1)

    def head(self, x, c, n_classes):
        """Global average pool, Flatten, Gemm: the graph output "logits"."""
        x = self.op("GlobalAveragePool", x, name="pool")
        x = self.op("Flatten", x, name="flatten", axis=1)
        self.gemm("classifier", x, c, n_classes, out="logits")
        self.output("logits", "float", "N", n_classes)

    def proto(self, name, about=""):
        g = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers, doc_string=about)
        g.sparse_initializer.extend(self.sparse_initializers)
        return g

    def model(self, name, about, opsets, ir_version):
        return helper.make_model(
            self.proto(name, about),
            producer_name="infold make_models.py",
            ir_version=ir_version,
            opset_imports=[helper.make_opsetid(d, v) for d, v in opsets.items()],
            functions=self.functions,
        )
