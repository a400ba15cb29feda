"""Compiled networks behind one contract: `part(name=array, …) → {name: array}`.

A part is read when it is created, so that all parts are those of one conversion; it is compiled
when first called, for exactly the shapes it is called with, and kept while they stay the same.
Input arrays are wired to the request, not copied; what is returned is the caller's own. Threads may
share a part: it answers one call after the other.
"""

import copy
import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from .base.checks import all_finite

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "f32", "bf16", "f16")
VIRTUAL_DEVICES = ("AUTO", "HETERO", "MULTI")
GROUP_SIZE = "DYNAMIC_QUANTIZATION_GROUP_SIZE"  # of activations that share a scale in 8 bits
PRECISION_HINTS = {"INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT"}


class OVPart:
    """One network on one device.

    Args:
        core: the OpenVINO core that compiles.
        path: the part's `.xml`.
        device: such as "CPU", "GPU", "GPU.1".
        ov_config: properties for `compile_model`.
        dynamic: axes that stay dynamic in the compiled network, as {port name: axis}; all other
            axes become static, which lets a plugin plan memory ahead.
    """

    def __init__(self, core, path: Path, device: str, ov_config: Mapping, dynamic=None):
        self.name = path.stem
        self.device = device
        self.weight_bytes = path.with_suffix(".bin").stat().st_size
        self.calls, self.seconds = 0, 0.0  # of inference, without compiling
        self._core = core
        self._model = _read(core, path)
        self._ov_config = dict(ov_config)
        self._dynamic = dict(dynamic or {})
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._request: ov.InferRequest | None = None
        self._precision = ""
        self._lock = threading.RLock()

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once. The arrays returned are the caller's own.

        Raises:
            FloatingPointError: a value that the network gave is not finite.
        """
        inputs = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        with self._lock:
            request = self.compile({name: value.shape for name, value in inputs.items()})
            for name, value in inputs.items():
                request.set_tensor(name, ov.Tensor(value, shared_memory=True))
            start = time.perf_counter()
            request.infer()
            self.seconds += time.perf_counter() - start
            self.calls += 1
            outputs = {
                port.get_any_name(): request.get_tensor(port).data.copy()
                for port in request.model_outputs
            }
        self._refuse_non_finite(outputs)
        return outputs

    def _refuse_non_finite(self, outputs: Mapping[str, np.ndarray]) -> None:
        for value in outputs.values():
            if not all_finite(value):
                raise FloatingPointError(
                    f"{self.name} gave values that are not finite numbers, on {self.device} in"
                    f" {self._precision}: try precision f32 or less guidance, else convert again"
                )

    def compile(self, shapes: Mapping[str, tuple[int, ...]]) -> ov.InferRequest:
        """Compile for these input shapes unless that is already done."""
        with self._lock:
            wanted = {name: self._static(name, shape) for name, shape in shapes.items()}
            if self._request is None or wanted != self._shapes:
                self.release()
                self._request = self._compile(wanted)
                self._shapes = wanted
            return self._request

    def _compile(self, shapes: Mapping[str, tuple[int, ...]]) -> ov.InferRequest:
        model = self._model.clone()  # shares the mapped weights
        model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})
        compiled = self._core.compile_model(model, self.device, self._ov_config)
        self._tell_precision(compiled)
        return compiled.create_infer_request()

    def _tell_precision(self, compiled) -> None:
        """A precision is a hint that a device without it passes over: say what really runs."""
        hint = "INFERENCE_PRECISION_HINT"
        if hint not in compiled.get_property("SUPPORTED_PROPERTIES"):
            self._precision = "its own precision"  # a virtual device keeps it quiet
            logger.info("%s runs on %s", self.name, self.device)
            return
        precision = self._precision = compiled.get_property(hint).to_string()
        wanted = self._ov_config.get(hint, precision)
        wanted = wanted.to_string() if isinstance(wanted, ov.Type) else wanted
        level = logging.INFO if wanted == precision else logging.WARNING
        asked = "" if wanted == precision else f", it has no {wanted}"
        logger.log(level, "%s runs on %s in %s%s", self.name, self.device, precision, asked)

    def release(self) -> None:
        """Free the compiled network; the next call compiles again."""
        with self._lock:
            self._request = self._shapes = None

    def tail_from(self, output: str) -> "OVPart":
        """What follows one of the outputs, as a part of its own: `output` becomes an input; inputs
        that only earlier layers need are dropped.
        """
        end = copy.copy(self)
        end.name = f"{self.name} after {output}"
        end.calls, end.seconds = 0, 0.0
        end._model = _end_of(self._model.clone(), output)
        end._lock = threading.RLock()
        end.release()
        return end

    @property
    def inputs(self) -> list[str]:
        """What it is called with."""
        return [port.get_any_name() for port in self._model.inputs]

    @property
    def devices(self) -> list[str]:
        """Where it runs."""
        return [self.device]

    @property
    def precision(self) -> str:
        """The arithmetic that was asked for, "auto" where none was."""
        hint = self._ov_config.get("INFERENCE_PRECISION_HINT", "auto")
        return hint.to_string() if isinstance(hint, ov.Type) else str(hint)

    def _static(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = self._dynamic.get(name)
        return tuple(-1 if index == axis else size for index, size in enumerate(shape))


class OVReplicas:
    """One network on several devices, behind the contract of `OVPart`; may be called from as many
    threads, and each call takes a device that is free.
    """

    def __init__(self, parts: Sequence[OVPart]):
        self.parts = list(parts)
        self._free: queue.SimpleQueue[OVPart] = queue.SimpleQueue()
        self.weight_bytes = sum(part.weight_bytes for part in parts)
        for part in parts:
            self._free.put(part)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See `OVPart.__call__`."""
        part = self._free.get()
        try:
            return part(**inputs)
        finally:
            self._free.put(part)

    @property
    def inputs(self) -> list[str]:
        """What each is called with."""
        return self.parts[0].inputs

    @property
    def devices(self) -> list[str]:
        """Where it runs."""
        return [part.device for part in self.parts]

    @property
    def precision(self) -> str:
        """See `OVPart.precision`."""
        return self.parts[0].precision

    def tail_from(self, output: str) -> "OVReplicas":
        """See `OVPart.tail_from`."""
        return OVReplicas([part.tail_from(output) for part in self.parts])

    @property
    def calls(self) -> int:
        """Of all devices."""
        return sum(part.calls for part in self.parts)

    @property
    def seconds(self) -> float:
        """Of all devices, as if they had worked one after the other."""
        return sum(part.seconds for part in self.parts)

    def release(self) -> None:
        """Free the compiled networks."""
        for part in self.parts:
            part.release()


def _read(core: ov.Core, path: Path) -> ov.Model:
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise ValueError(f"{path} is no readable IR; convert again") from error


def _end_of(model: ov.Model, output: str) -> ov.Model:
    """See `OVPart.tail_from`; the model is changed."""
    start = model.output(output).get_node().input_value(0)
    entry = ops.parameter(start.partial_shape, start.element_type, name=output)
    entry.output(0).get_tensor().set_names({output})
    for target in start.get_target_inputs():
        target.replace_source_output(entry.output(0))
    results = [port.get_node() for port in model.outputs if output not in port.names]
    nodes, reached = list(results), set()
    while nodes:
        node = nodes.pop()
        if node.get_friendly_name() not in reached:
            reached.add(node.get_friendly_name())
            nodes += [value.get_node() for value in node.input_values()]
    needed = [node for node in model.get_parameters() if node.get_friendly_name() in reached]
    return ov.Model(results, [*needed, entry])


def precision_config(precision: str = "auto") -> dict[str, str]:
    """OpenVINO properties for an arithmetic: "f32", "bf16" or "f16" and nothing narrower, or
    "auto", the device's choice: CPUs then also round to 8 bits what is multiplied with 8-bit
    weights.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    if precision == "auto":
        return {}
    return {"INFERENCE_PRECISION_HINT": precision, GROUP_SIZE: "0"}


def with_default_group_size(ov_config: Mapping, device: str, width: int) -> dict:
    """The same properties; on a CPU, unless the caller set a precision, also groups of `width`
    activations instead of OpenVINO's 32, which take longer.
    """
    if device != "CPU" or ov_config.keys() & PRECISION_HINTS:
        return dict(ov_config)
    return {GROUP_SIZE: str(width), **ov_config}


def check_devices(core: ov.Core, devices) -> None:
    """Raises ValueError that names the devices there are when one of `devices` is not among them.

    Virtual devices are accepted by their own names, as in "AUTO:GPU,CPU".
    """
    available = core.available_devices
    known = {*available, *(name.split(".")[0] for name in available)}
    for device in devices:
        if not isinstance(device, str):
            raise TypeError(f"device must be a string, got {type(device).__name__}")
        virtual, _, listed = device.rpartition(":")
        names = listed.replace("-", "").split(",") if virtual else [device]
        for name in names:
            if virtual not in ("", *VIRTUAL_DEVICES) or name not in {*known, *VIRTUAL_DEVICES}:
                raise ValueError(f"device {device!r} does not exist here; there are {available}")
