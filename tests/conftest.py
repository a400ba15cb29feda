"""Toy weights by the golden recipe, converted once for the whole run."""

import hashlib
import json
import os
import signal
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from PIL import Image

# A shell starts what runs in its background deaf to Ctrl+C, and programs hand that down to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
TOY = ROOT / "tests" / "golden" / "toy"
POSE_WEIGHTS = ROOT / "build" / "pose_weights"

from animate_anyone.base.lock import exclusive
from animate_anyone.convert.convert import convert_models
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.runtime import precision_config
from demo_model.files import WEIGHTS
from tools.random_weights import write_weights


def cache_folder() -> Path:
    """Where weights and IRs of the tests are kept, for all workers and for the next run: a folder
    for each state of the code that makes them. Tests that change them work on a copy."""
    sources = [
        *(ROOT / "animate_anyone").glob("base/*.py"),
        *(ROOT / "animate_anyone").glob("convert/*.py"),
        *(ROOT / "animate_anyone").glob("networks/*.py"),
        ROOT / "animate_anyone" / "calibrate.py",
        ROOT / "tools" / "random_weights.py",
        ROOT / "requirements.txt",
    ]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources)))
    folder = ROOT / "build" / "tests" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


CACHE = cache_folder()


@pytest.fixture(scope="session")
def toy_weights() -> Path:
    """The weights that the golden outputs were computed with."""
    folder, finished = CACHE / "toy_weights", CACHE / "toy_weights.finished"
    with exclusive(CACHE, "test"):
        if not finished.exists():
            write_weights(folder, size="toy")
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def toy_models(toy_weights) -> Path:
    """The toy weights as IR, uncompressed."""
    return convert_models(toy_weights, CACHE / "toy", compression="none")


@pytest.fixture(scope="session")
def toy_models_int8(toy_weights) -> Path:
    """The toy weights as IR as `convert` writes it by default."""
    return convert_models(toy_weights, CACHE / "toy_int8")


@pytest.fixture(scope="session")
def demo_models() -> Path:
    """The small model as IR."""
    return convert_models(WEIGHTS, CACHE / "small_model")


@pytest.fixture(scope="session")
def blazepose_models() -> Path:
    """MediaPipe's networks as IR. `make test` fetches them; tests make no requests."""
    if not (POSE_WEIGHTS / "BlazePose").is_dir():
        pytest.skip(f"no BlazePose networks in {POSE_WEIGHTS}: `make test` fetches them")
    convert_pose_models(POSE_WEIGHTS, CACHE / "blazepose")
    return CACHE / "blazepose"


@pytest.fixture(scope="session")
def pipe(toy_models) -> OVAnimateAnyonePipeline:
    """The toy pipeline in float32. Tests that change it put back what they found."""
    return OVAnimateAnyonePipeline.from_pretrained(toy_models, ov_config=precision_config("f32"))


@pytest.fixture(scope="session")
def components() -> dict:
    """Inputs and outputs of each network, computed by the reference implementation."""
    return torch.load(TOY / "components.pt", weights_only=True)


def load_case(name: str) -> tuple[dict, Image.Image, list[Image.Image], dict]:
    """Settings, reference image, pose maps and golden output of a pipeline case."""
    settings = json.loads((TOY / "cases.json").read_text())[name]
    reference = Image.open(TOY / name / "reference.png")
    poses = [Image.open(path) for path in sorted((TOY / name).glob("pose_*.png"))]
    return settings, reference, poses, torch.load(TOY / name / "output.pt", weights_only=True)


def run_case(pipe, name: str, **changes) -> tuple[np.ndarray, np.ndarray]:
    """Latents (1, c, f, h, w) and video (1, f, H, W, 3) of a case, with some settings changed."""
    settings, reference, poses, _ = load_case(name)
    latents = {}
    arguments = {
        "reference_image": reference,
        "pose_images": poses,
        "width": settings["width"],
        "height": settings["height"],
        "fit": "stretch",
        "num_frames": settings["video_length"],
        "num_inference_steps": settings["num_inference_steps"],
        "guidance_scale": settings["guidance_scale"],
        "generator": torch.Generator().manual_seed(settings["seed"]),
        "context_schedule": "uniform",  # the reference's
        "output_type": "np",
        "callback_on_step_end": lambda pipe, step, timestep, values: latents.update(values),
    }
    video = pipe(**arguments | changes).frames
    return latents["latents"].numpy(), video


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1]."""
    return float(-10 * np.log10(np.mean((a - b) ** 2)))
