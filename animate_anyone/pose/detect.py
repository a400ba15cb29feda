"""Opens the pose detector that a model folder holds.

`open_detector(models)(picture)` is everybody in a picture, `.follow(frames)` everybody in each
frame of a film.
"""

from pathlib import Path

import openvino as ov

from ..base.manifest import is_current, load_or_new
from ..base.pose_networks import BLAZEPOSE, DWPOSE, OPTIONAL
from ..runtime import OVPart, check_devices, precision_config
from .blazepose import BlazePose
from .detector import PoseDetector
from .dwpose import DWPose

# The first whose networks are there is the default: the published weights learned from DWPose.
DETECTORS = {"dwpose": (DWPose, DWPOSE), "blazepose": (BlazePose, BLAZEPOSE)}


def open_detector(models_dir, name: str | None = None, device: str = "CPU") -> PoseDetector:
    """A detector with its networks, which compile when they are first used.

    Args:
        models_dir: folder that `convert` wrote; it may hold networks that animate, too.
        name: "dwpose" or "blazepose"; None: the first of them whose networks are there.
        device: of OpenVINO, such as "CPU", "GPU", "AUTO".

    Raises:
        FileNotFoundError: the networks are not there; names the command that fetches them.
        ValueError: a name or a device that does not exist, or files that have changed.
    """
    if models_dir is None:
        raise ValueError("models_dir (--models) must be the folder of a detector, got none")
    models_dir = Path(models_dir)
    if name not in (None, *DETECTORS):
        raise ValueError(f"detector must be one of {tuple(DETECTORS)}, got {name!r}")
    entries = load_or_new(models_dir)["parts"]
    for choice in [name] if name else DETECTORS:
        kind, networks = DETECTORS[choice]
        if all(part in entries or part in OPTIONAL for part in networks):
            core = ov.Core()
            check_devices(core, [device])
            there = [part for part in networks if part in entries]
            return kind({part: _open(core, models_dir, entries, part, device) for part in there})
    wanted = name or "blazepose"
    raise FileNotFoundError(
        f"{models_dir} holds no {name or 'pose'} detector: run `python -m animate_anyone download"
        f" --pose {wanted} --weights DIR`, then `convert --weights DIR --models {models_dir}`"
    )


def _open(core: ov.Core, models_dir: Path, entries: dict, part: str, device: str) -> OVPart:
    """A network in float32 on every device: how exact it is is seen, and it is small."""
    entry = entries[part]
    recipe = entry.get("recipe", {}) if isinstance(entry, dict) else {}
    if not is_current(models_dir, part, entry, recipe):
        raise ValueError(
            f"{models_dir / part}.xml or .bin is not what convert wrote; convert again"
        )
    return OVPart(core, models_dir / f"{part}.xml", device, precision_config("f32"))
