"""8-bit arithmetic: calibrated on what the pipeline does, kept while current, hardly worse."""

import shutil

import numpy as np
import openvino as ov
import pytest
from PIL import Image

from animate_anyone import convert
from animate_anyone.cli import main
from animate_anyone.config import PART_NAMES
from animate_anyone.convert import convert_models
from animate_anyone.manifest import file_facts, part_files, read_manifest
from animate_anyone.pipeline import OVAnimateAnyonePipeline
from animate_anyone.quantize import FRAMES, STEPS, Recorder, record_inputs
from animate_anyone.runtime import precision_config
from demo_model import measures
from demo_model.files import WEIGHTS
from demo_model.performance import Performance

LOSS = 0.3  # dB that 8-bit arithmetic may cost


@pytest.fixture(scope="module")
def pictures() -> dict:
    """A held-out character to calibrate on, none of those that quality is measured on."""
    show = Performance.held_out(7, FRAMES)
    return {"reference_image": Image.fromarray(show.reference), "pose_images": show.maps}


@pytest.fixture(scope="module")
def hybrid(demo_models, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hybrid")
    shutil.copytree(demo_models, folder, dirs_exist_ok=True)
    return convert_models(WEIGHTS, folder, "int8-hybrid", **pictures)


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

    def interrupted(model_dir, reference_image, pose_images):
        done.append(reference_image)
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "convert_part", converted)
    monkeypatch.setattr(convert, "record_inputs", interrupted)
    convert_models(WEIGHTS, tmp_path, "int8-hybrid", **pictures)
    assert not done

    other = pictures["reference_image"].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    with pytest.raises(KeyboardInterrupt):
        convert_models(WEIGHTS, tmp_path, "int8-hybrid", **pictures | {"reference_image": other})
    assert done == [("denoising_unet", "int8"), other]
    recipe = read_manifest(tmp_path)["parts"]["denoising_unet"]["recipe"]
    assert recipe["compression"] == "int8" and "calibration" not in recipe


def test_records_one_input_per_step(demo_models, pictures):
    inputs = record_inputs(demo_models, **pictures)
    assert len(inputs) == STEPS
    timesteps = [float(values["timestep"][0]) for values in inputs]
    assert timesteps == sorted(set(timesteps), reverse=True)
    assert {values["sample"].shape for values in inputs} == {(1, 16, FRAMES, 16, 16)}
    samples = [values["sample"].std() for values in inputs]
    assert len(set(samples)) == STEPS  # none was written over by the next


def test_recorder_leaves_out_empty_features():
    part = Recorder(lambda **inputs: {"noise_pred": inputs["sample"] + 1})
    full, empty = np.ones((1, 3, 2), np.float32), np.ones((1, 0, 2), np.float32)
    for feature in (full, empty):
        assert part(sample=full, feature=feature)["noise_pred"].max() == 2
    assert len(part.inputs) == 1 and part.inputs[0]["feature"] is full


PICTURE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, ValueError, "needs reference_image and pose_images to calibrate on"),
        ({"reference_image": PICTURE}, ValueError, "needs reference_image and pose_images"),
        (
            {"reference_image": PICTURE, "pose_images": []},
            ValueError,
            "pose_images must hold at least one image, got none",
        ),
        (
            {"reference_image": "me.png", "pose_images": [PICTURE]},
            TypeError,
            "reference_image must be made of PIL images, got str",
        ),
        (
            {"reference_image": PICTURE, "pose_images": [PICTURE], "parts": ["pose_guider"]},
            ValueError,
            "parts must be all for compression 'int8-hybrid'",
        ),
        (
            {"reference_image": PICTURE, "compression": "int8"},
            ValueError,
            "are for compression 'int8-hybrid', got 'int8'",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_converted(tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        convert_models(WEIGHTS, tmp_path / "models", **{"compression": "int8-hybrid"} | settings)
    assert not (tmp_path / "models").exists()


def test_command(tmp_path, capsys):
    command = ["convert", "--weights", str(WEIGHTS), "--models", str(tmp_path / "models")]
    assert main([*command, "--compression", "int8-hybrid"]) == 1
    assert "needs reference_image and pose_images" in capsys.readouterr().err
    assert main([*command, "--reference", "nobody.png"]) == 1
    assert "nobody.png does not exist" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
