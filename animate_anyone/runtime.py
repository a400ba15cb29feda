"""Compiled networks behind one contract: `part(name=array, …) → {name: array}`.

A part is read when it is created, so that all parts are those of one conversion; it is compiled when
first called, for exactly the shapes it is called with, and kept while they stay the same. Input arrays
are wired to the request, not copied.
"""

import copy
import logging
import queue
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from .config import PART_NAMES

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "f32", "bf16", "f16")
VIRTUAL_DEVICES = ("AUTO", "HETERO", "MULTI")
GROUP_SIZE = "DYNAMIC_QUANTIZATION_GROUP_SIZE"  # of activations that share a scale in 8 bits
PRECISION_HINTS = {"INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT"}
SPREAD_PART = "denoising_unet"  # the only part with work for several devices


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
        self._shapes = None
        self._request = None

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once. The arrays returned are the request's own memory: the next call overwrites
        them."""
        inputs = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        self.compile({name: value.shape for name, value in inputs.items()})
        for name, value in inputs.items():
            self._request.set_tensor(name, ov.Tensor(value, shared_memory=True))
        start = time.perf_counter()
        self._request.infer()
        self.seconds += time.perf_counter() - start
        self.calls += 1
        outputs = self._request.model_outputs
        return {port.get_any_name(): self._request.get_tensor(port).data for port in outputs}

    def compile(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compile for these input shapes unless that is already done."""
        shapes = {name: self._static(name, shape) for name, shape in shapes.items()}
        if shapes == self._shapes:
            return
        self.release()
        model = self._model.clone()  # shares the mapped weights
        model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})
        compiled = self._core.compile_model(model, self.device, self._ov_config)
        self._request = compiled.create_infer_request()
        self._shapes = shapes
        self._tell_precision(compiled)

    def _tell_precision(self, compiled) -> None:
        """A precision is a hint that a device without it passes over: say what really runs."""
        hint = "INFERENCE_PRECISION_HINT"
        if hint not in compiled.get_property("SUPPORTED_PROPERTIES"):
            logger.info("%s runs on %s", self.name, self.device)  # a virtual device keeps it quiet
            return
        precision = compiled.get_property(hint).to_string()
        wanted = self._ov_config.get(hint, precision)
        wanted = wanted.to_string() if isinstance(wanted, ov.Type) else wanted
        level = logging.INFO if wanted == precision else logging.WARNING
        asked = "" if wanted == precision else f", it has no {wanted}"
        logger.log(level, "%s runs on %s in %s%s", self.name, self.device, precision, asked)

    def release(self) -> None:
        """Free the compiled network; the next call compiles again."""
        self._request = self._shapes = None

    def after(self, output: str) -> "OVPart":
        """The end of this network that begins at one of its outputs, as a part of its own: that output
        is an input, by the same name, and inputs that the end does not need are none of its own."""
        end = copy.copy(self)
        end.name = f"{self.name} after {output}"
        end.calls, end.seconds = 0, 0.0
        end._model = _end_of(self._model.clone(), output)
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

    def _static(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = self._dynamic.get(name)
        return tuple(-1 if index == axis else size for index, size in enumerate(shape))


class OVReplicas:
    """One network on several devices, behind the contract of `OVPart`; may be called from as many
    threads, and each call takes a device that is free. Its answers are copies."""

    def __init__(self, parts: Sequence[OVPart]):
        self.parts, self._free = list(parts), queue.SimpleQueue()
        self.weight_bytes = sum(part.weight_bytes for part in parts)
        for part in parts:
            self._free.put(part)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        part = self._free.get()
        try:
            return {name: value.copy() for name, value in part(**inputs).items()}
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

    def after(self, output: str) -> "OVReplicas":
        """See `OVPart.after`."""
        return OVReplicas([part.after(output) for part in self.parts])

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
    """See `OVPart.after`; the model is changed."""
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
    """OpenVINO properties for an arithmetic: "f32", "bf16" or "f16" and nothing narrower, or "auto", the
    device's choice: CPUs then also round to 8 bits what is multiplied with 8-bit weights."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    if precision == "auto":
        return {}
    return {"INFERENCE_PRECISION_HINT": precision, GROUP_SIZE: "0"}


def with_wide_groups(ov_config: Mapping, device: str, width: int) -> dict:
    """The same properties; on a CPU that nobody has told how exactly to compute, also groups of `width`
    activations instead of OpenVINO's 32, which take longer."""
    if device != "CPU" or ov_config.keys() & PRECISION_HINTS:
        return dict(ov_config)
    return {GROUP_SIZE: str(width)} | ov_config


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


def per_part_devices(device) -> dict[str, list[str]]:
    """{part name: its devices} from one device for all, or from some parts' own; the rest is "CPU".
    A list of devices shares the windows of the denoising UNet; other parts run on its first one."""
    if not isinstance(device, Mapping):
        devices = _device_list(device)
        return {name: devices[:1] for name in PART_NAMES} | {SPREAD_PART: devices}
    _refuse_unknown_parts("device", device)
    own = {name: _device_list(value) for name, value in device.items()}
    for name, devices in own.items():
        if len(devices) > 1 and name != SPREAD_PART:
            raise ValueError(f"{name} runs on one device, got {devices}")
    return {name: ["CPU"] for name in PART_NAMES} | own


def _device_list(device) -> list[str]:
    devices = [device] if isinstance(device, str) else device
    if not isinstance(devices, list | tuple):
        kind = type(device).__name__
        raise TypeError(f"device must be a string, a list of them or one per part, got {kind}")
    if not devices:
        raise ValueError("device must name at least one device, got an empty list")
    return list(devices)


def per_part_configs(ov_config: Mapping) -> dict[str, dict]:
    """{part name: properties}: the common ones, and those under the part's own name."""
    if not isinstance(ov_config, Mapping):
        raise TypeError(f"ov_config must map properties to values, got {type(ov_config).__name__}")
    common = {key: value for key, value in ov_config.items() if not isinstance(value, Mapping)}
    special = {key: value for key, value in ov_config.items() if isinstance(value, Mapping)}
    _refuse_unknown_parts("ov_config", special)
    return {name: common | dict(special.get(name, {})) for name in PART_NAMES}


def _refuse_unknown_parts(what: str, names) -> None:
    unknown = [name for name in names if name not in PART_NAMES]
    if unknown:
        raise ValueError(f"{what} names a part {unknown[0]!r}, expected one of {PART_NAMES}")
