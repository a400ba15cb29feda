"""Where the shipped weights are: float16 safetensors in the layout that `convert` reads."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from animate_anyone.base.files import replacing

HOME = Path(__file__).resolve().parent
WEIGHTS = HOME / "pretrained_weights"
MODELS = Path("build/demo_models")  # what they are converted to


def write(folder: Path, name: str, content: dict, step: int = 0) -> None:
    """Write a config, or weights in float16 with the number of steps they were trained for."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".json"):
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return
    half = {key: value.half().contiguous() for key, value in content.items()}
    target = path.with_name(f"{path.name}.safetensors")
    with replacing(target) as partial:
        save_file(half, partial, metadata={"steps": str(step)})


def read(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """All shipped weights in float32: file name without ending → key → tensor."""
    weights = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        weights[path.relative_to(folder).with_suffix("").as_posix()] = state
    return weights


def steps_done(folder: Path, stem: str) -> int:
    """How long the shipped weights of a file were trained; 0 if there are none."""
    path = folder / f"{stem}.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {}).get("steps", 0))
