"""infold as a backend of onnx.backend, whose test runner and tools it serves: onnx.backend.test.BackendTest(backend)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from . import Session


class Prepared(BackendRep):
    def __init__(self, session: Session, given: Sequence[str]):
        self.session = session
        self.given = given

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """inputs: by name, or a sequence in the model's order, without those that an initializer serves."""
        feeds = inputs if isinstance(inputs, dict) else self._feeds(inputs)
        outputs = self.session.run(None, feeds)
        return namedtupledict("Outputs", [v.name for v in self.session.outputs])(*outputs)

    def _feeds(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        every = [v.name for v in self.session.inputs]
        return dict(zip(self.given if len(inputs) < len(every) else every, inputs))


class InfoldBackend(Backend):
    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        return cls.supports_device(device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        """Further arguments are those of infold.Session."""
        if not cls.supports_device(device):
            raise ValueError(f"infold runs on CPU, not {device}")
        initializers = {i.name for i in model.graph.initializer}
        given = [i.name for i in model.graph.input if i.name not in initializers]
        return Prepared(Session(model.SerializeToString(), **kwargs), given)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Optional[Sequence[tuple[np.dtype, tuple[int, ...]]]] = None,
        opset_version: Optional[int] = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Runs a node by itself. The types of its outputs are inferred: outputs_info is not needed."""
        arrays = [np.asarray(i) for i in inputs]
        names = [n for n in node.input if n]
        graph = onnx.helper.make_graph(
            [node], "node",
            [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in zip(names, arrays)],
            [onnx.ValueInfoProto(name=n) for n in node.output if n])
        version = opset_version or onnx.defs.onnx_opset_version()
        opset = onnx.helper.make_opsetid(node.domain, version)
        model = onnx.helper.make_model(graph, opset_imports=[opset])
        return cls.prepare(onnx.shape_inference.infer_shapes(model), device, **kwargs).run(arrays)


is_compatible = InfoldBackend.is_compatible
prepare = InfoldBackend.prepare
run_model = InfoldBackend.run_model
run_node = InfoldBackend.run_node
supports_device = InfoldBackend.supports_device
