"""Which part runs where, and with which OpenVINO properties."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import openvino as ov

from ..base.config import UNetConfig, reference_feature_names
from ..base.layout import PART_NAMES
from ..runtime import OVPart, OVReplicas, check_devices, with_default_group_size

MAPPED_PART = "denoising_unet"  # the only part with work for several devices

# A part that runs once per video and weighs more than this is freed before the loop: at full size
# the reference UNet would hold as much memory as the denoising UNet, to save seconds of compiling.
KEEP_BELOW_BYTES = 2**28


def open_parts(
    model_dir: Path, unet: UNetConfig, device, ov_config: Mapping
) -> dict[str, OVPart | OVReplicas]:
    """All parts of a model folder, {name: part}; see `OVAnimateAnyonePipeline.from_pretrained`."""
    core = ov.Core()
    devices = per_part_devices(device)
    check_devices(core, chain.from_iterable(devices.values()))
    configs = per_part_configs(ov_config)
    # The unconditional half has no reference: one compiled network takes m = 0 as well.
    dynamic = {MAPPED_PART: {name: 1 for name in reference_feature_names(unet)}}
    parts: dict[str, OVPart | OVReplicas] = {}
    for name in PART_NAMES:
        replicas = []
        for each in devices[name]:
            own = with_default_group_size(configs[name], each, unet.block_out_channels[0])
            replicas.append(OVPart(core, model_dir / f"{name}.xml", each, own, dynamic.get(name)))
        parts[name] = replicas[0] if len(replicas) == 1 else OVReplicas(replicas)
    return parts


def release_large(parts: Mapping, *names: str) -> None:
    """Free the compiled networks of parts that weigh much."""
    for name in names:
        if parts[name].weight_bytes > KEEP_BELOW_BYTES:
            parts[name].release()


def per_part_devices(device) -> dict[str, list[str]]:
    """{part name: its devices} from one device for all, or from some parts' own; the rest is "CPU".
    A list of devices shares the windows of the denoising UNet; other parts run on its first one.
    """
    if not isinstance(device, Mapping):
        devices = _device_list(device)
        return {name: devices[:1] for name in PART_NAMES} | {MAPPED_PART: devices}
    _refuse_unknown_parts("device", device)
    own = {name: _device_list(value) for name, value in device.items()}
    for name, devices in own.items():
        if len(devices) > 1 and name != MAPPED_PART:
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
