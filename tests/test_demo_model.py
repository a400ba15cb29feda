"""The small model, through the OpenVINO pipeline: what it can do, and that
reference, pose and guidance are what it does it with."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from animate_anyone.convert.convert import convert_models
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from demo_model.drawing.performance import Performance
from demo_model.files import WEIGHTS
from demo_model.measuring import measures

from conftest import CACHE

pytestmark = pytest.mark.slow
FRAMES = 12


@pytest.fixture(scope="module")
def demo(demo_models) -> OVAnimateAnyonePipeline:
    return OVAnimateAnyonePipeline.from_pretrained(demo_models)


@pytest.fixture(scope="module")
def without_motion(demo_models) -> OVAnimateAnyonePipeline:
    """The same model, its motion modules silenced: nothing leaves their last layer."""
    weights, silent = CACHE / "silent_weights", CACHE / "silent"
    shutil.copytree(WEIGHTS, weights, dirs_exist_ok=True)
    if not silent.exists():
        shutil.copytree(demo_models, silent)
    path = weights / "motion_module.safetensors"
    state = load_file(path)
    for name, value in state.items():
        if "temporal_transformer.proj_out" in name:
            value.zero_()
    save_file(state, path)
    return OVAnimateAnyonePipeline.from_pretrained(convert_models(weights, silent))


@pytest.fixture(scope="module", params=[0, 1])
def performance(request) -> Performance:
    return Performance.held_out(request.param, FRAMES)


@pytest.fixture(scope="module")
def result(demo, performance) -> np.ndarray:
    return performance.animate(demo)


def figure_psnr(performance: Performance, result: np.ndarray) -> float:
    return measures.measure(performance, result)["figure PSNR"]


def test_fits_into_the_repository():
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25e6
    for path in WEIGHTS.rglob("*.safetensors"):
        assert {value.dtype for value in load_file(path).values()} == {torch.float16}


def test_own_settings_are_the_defaults(demo):
    recommended = demo.generation_config
    assert (recommended.width, recommended.height) == (128, 128)
    assert recommended.num_inference_steps < 30


def test_animates_characters_it_never_saw(performance, result):
    """Near the truth, and nearer in the figure's region than the reference that stands still."""
    score = measures.measure(performance, result)
    still = measures.measure(performance, np.repeat(performance.reference[None], FRAMES, axis=0))
    assert score["PSNR"] > 25 and score["SSIM"] > 0.87
    assert score["figure PSNR"] > still["figure PSNR"] + 9


def test_reference_features_matter(demo, performance, result, monkeypatch):
    reference_features = demo.reference_features

    def none(*arguments):
        return {name: value[:, :0] for name, value in reference_features(*arguments).items()}

    monkeypatch.setattr(demo, "reference_features", none)
    without = performance.animate(demo)
    assert measures.psnr(without, performance.truth) < measures.psnr(result, performance.truth) - 6


def test_pose_matters(demo, performance, result, monkeypatch):
    """With the poses of the opposite direction in time the figure is elsewhere."""
    forwards = performance.maps
    monkeypatch.setitem(performance.__dict__, "maps", forwards[::-1])
    backwards = performance.animate(demo)
    assert figure_psnr(performance, backwards) < figure_psnr(performance, result) - 2


def test_motion_modules_matter(demo, without_motion, performance):
    """Frames that do not see each other miss more of the truth's movement. In eight steps, which
    make up more detail than the few that are recommended, and so differ more between frames."""
    together, alone = (
        measures.temporal_error(performance.animate(pipe, num_inference_steps=8), performance.truth)
        for pipe in (demo, without_motion)
    )
    assert alone > 1.05 * together


def test_guidance_matters(demo, performance, result):
    """Strong guidance leaves the truth: the model's own strength is nearer."""
    strong = performance.animate(demo, guidance_scale=6.0)
    assert measures.psnr(strong, performance.truth) < measures.psnr(result, performance.truth) - 0.5
