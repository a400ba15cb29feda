"""8-bit arithmetic: calibrated on what the pipeline does, kept while current, hardly worse."""

import shutil

import numpy as np
import openvino as ov
import pytest
from PIL import Image

from animate_anyone.base.files import file_facts
from animate_anyone.base.layout import PART_NAMES
from animate_anyone.base.manifest import part_files, read_manifest
from animate_anyone.calibrate import (
    CALIBRATION_FRAMES,
    CALIBRATION_STEPS,
    PipelineCalibration,
    Recorder,
)
from animate_anyone.cli import main
from animate_anyone.convert import convert
from animate_anyone.convert.convert import convert_models
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.runtime import precision_config
from demo_model.drawing.performance import Performance
from demo_model.files import WEIGHTS
from demo_model.measuring import measures

from conftest import CACHE

pytestmark = pytest.mark.slow
LOSS = 0.3  # dB that 8-bit arithmetic may cost


@pytest.fixture(scope="module")
def pictures() -> dict:
    """A held-out character to calibrate on, none of those that quality is measured on."""
    show = Performance.held_out(7, CALIBRATION_FRAMES)
    return {"reference_image": Image.fromarray(show.reference), "pose_images": show.maps}


@pytest.fixture(scope="module")
def hybrid(demo_models, pictures):
    folder = CACHE / "hybrid"
    if not folder.exists():
        shutil.copytree(demo_models, folder)
    calibration = PipelineCalibration(**pictures)
    return convert_models(WEIGHTS, folder, "int8-hybrid", calibration=calibration)


def quantized_inputs(path) -> int:
    model = ov.Core().read_model(path)
    return sum(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


def test_only_the_denoising_unet_computes_in_8_bits(hybrid, demo_models):
    assert quantized_inputs(hybrid / "denoising_unet.xml") > 100
    for name in PART_NAMES:
        assert quantized_inputs(demo_models / f"{name}.xml") == 0
        if name != "denoising_unet":
            assert quantized_inputs(hybrid / f"{name}.xml") == 0
    entry = read_manifest(hybrid)["parts"]["denoising_unet"]
    assert (hybrid / "denoising_unet.bin").stat().st_size < 0.35 * entry["float32_bytes"]
    assert entry["recipe"]["compression"] == "int8-hybrid"
    assert len(entry["recipe"]["calibration"]) == 64


def test_hardly_worse(hybrid, demo_models):
    """Not the same frames, and as near to the truth as 8-bit weights alone, but for `LOSS`."""
    pipes = [OVAnimateAnyonePipeline.from_pretrained(folder) for folder in (demo_models, hybrid)]
    losses = []
    for index in (0, 1):
        show = Performance.held_out(index, 12)
        exact, quick = (show.animate(pipe) for pipe in pipes)
        assert not np.array_equal(exact, quick)
        losses.append(measures.psnr(exact, show.truth) - measures.psnr(quick, show.truth))
    assert np.mean(losses) < LOSS


def test_its_last_layer_alone(hybrid):
    """The cut lies where no rounding to 8 bits is lost or done twice."""
    pipe = OVAnimateAnyonePipeline.from_pretrained(hybrid, ov_config=precision_config("f32"))
    unet, last_layer = pipe.parts["denoising_unet"], pipe.parts["last_layer"]
    rng = np.random.default_rng(0)
    shapes = {"sample": (1, 16, 2, 8, 8), "pose_features": (1, 48, 2, 8, 8), "timestep": (1,)}
    for port in unet._model.inputs:
        if port.get_any_name() not in shapes:  # tokens
            shapes[port.get_any_name()] = 1, 1, port.partial_shape[-1].get_length()
    inputs = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    outputs = {name: value.copy() for name, value in unet(**inputs).items()}
    given = inputs | outputs
    alone = last_layer(**{name: given[name] for name in last_layer.inputs})["noise_pred"]
    difference = np.abs(alone - outputs["noise_pred"]).mean()
    assert difference < 0.01 * np.abs(outputs["noise_pred"]).mean()


def test_kept_while_current(hybrid, pictures, tmp_path, monkeypatch):
    """The same pictures calibrate nothing again; others do, on a model with 8-bit weights, which is
    what an interruption leaves."""
    shutil.copytree(hybrid, tmp_path, dirs_exist_ok=True)
    done = []

    def converted(name, weights_dir, model_dir, compression, inputs):
        done.append((name, compression))
        return {"files": {file: file_facts(model_dir / file) for file in part_files(name)}}

    def interrupted(calibration, model_dir):
        done.append(calibration.reference_image)
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "convert_part", converted)
    monkeypatch.setattr(PipelineCalibration, "record", interrupted)
    convert_models(WEIGHTS, tmp_path, "int8-hybrid", calibration=PipelineCalibration(**pictures))
    assert not done

    other = pictures["reference_image"].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    with pytest.raises(KeyboardInterrupt):
        calibration = PipelineCalibration(other, pictures["pose_images"])
        convert_models(WEIGHTS, tmp_path, "int8-hybrid", calibration=calibration)
    assert done == [("denoising_unet", "int8"), other]
    recipe = read_manifest(tmp_path)["parts"]["denoising_unet"]["recipe"]
    assert recipe["compression"] == "int8" and "calibration" not in recipe


def test_records_one_input_per_step(demo_models, pictures):
    inputs = PipelineCalibration(**pictures).record(demo_models)
    assert len(inputs) == CALIBRATION_STEPS
    timesteps = [float(values["timestep"][0]) for values in inputs]
    assert timesteps == sorted(set(timesteps), reverse=True)
    assert {values["sample"].shape for values in inputs} == {(1, 16, CALIBRATION_FRAMES, 16, 16)}
    samples = [values["sample"].std() for values in inputs]
    assert len(set(samples)) == CALIBRATION_STEPS  # none was written over by the next


def test_recorder_leaves_out_empty_features():
    part = Recorder(lambda **inputs: {"noise_pred": inputs["sample"] + 1})
    full, empty = np.ones((1, 3, 2), np.float32), np.ones((1, 0, 2), np.float32)
    for feature in (full, empty):
        assert part(sample=full, feature=feature)["noise_pred"].max() == 2
    assert len(part.inputs) == 1 and part.inputs[0]["feature"] is full


PICTURE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("pictures", "error", "message"),
    [
        ((PICTURE, None), ValueError, "needs reference_image and pose_images to calibrate on"),
        ((PICTURE, []), ValueError, "pose_images must hold at least one image, got none"),
        (("me.png", [PICTURE]), TypeError, "reference_image must be made of PIL images, got str"),
    ],
)
def test_pictures_to_calibrate_on(pictures, error, message):
    with pytest.raises(error, match=message):
        PipelineCalibration(*pictures)


CALIBRATION = PipelineCalibration(PICTURE, [PICTURE])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs reference_image and pose_images to calibrate on"),
        (
            {"calibration": CALIBRATION, "parts": ["pose_guider"]},
            "parts must be all for compression 'int8-hybrid'",
        ),
        (
            {"calibration": CALIBRATION, "compression": "int8"},
            "is for compression 'int8-hybrid', got 'int8'",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_converted(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        convert_models(WEIGHTS, tmp_path / "models", **{"compression": "int8-hybrid"} | settings)
    assert not (tmp_path / "models").exists()


def test_command(tmp_path, capsys):
    command = ["convert", "--weights", str(WEIGHTS), "--models", str(tmp_path / "models")]
    assert main([*command, "--compression", "int8-hybrid"]) == 1
    assert "needs reference_image and pose_images" in capsys.readouterr().err
    assert main([*command, "--reference", "nobody.png"]) == 1
    assert "nobody.png does not exist" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
