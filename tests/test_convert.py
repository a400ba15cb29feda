"""Conversion: IR equals PyTorch, is reused when current, and survives interruption."""

import json
import shutil

import numpy as np
import openvino as ov
import pytest
import torch

from animate_anyone.base.config import reference_feature_names
from animate_anyone.base.layout import DEEP_FEATURES, PART_NAMES
from animate_anyone.base.lock import LOCK
from animate_anyone.base.manifest import MANIFEST, read_manifest
from animate_anyone.convert import convert, export
from animate_anyone.convert.convert import convert_models
from animate_anyone.networks.motion import TemporalAttention
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.runtime import precision_config

TOLERANCE = 1e-3


def largest_difference(outputs: dict, golden: dict) -> float:
    assert set(outputs) == set(golden)
    return max(np.abs(outputs[name] - golden[name].numpy()).max() for name in golden)


@pytest.mark.parametrize("name", ["image_encoder", "vae_encoder", "vae_decoder", "pose_guider"])
def test_ir_of_one_input(pipe, components, name):
    part = pipe.parts[name]
    port = {"image_encoder": "pixel_values", "vae_decoder": "latent", "pose_guider": "pose_images"}
    (example,), (golden,) = components[name]["inputs"], components[name]["outputs"]
    (output,) = part(**{port.get(name, "image"): example.numpy()}).values()
    assert np.abs(output - golden.numpy()).max() < TOLERANCE


def test_ir_of_reference_unet(pipe, components):
    inputs = components["reference_unet"]["inputs"]
    outputs = pipe.parts["reference_unet"](
        sample=inputs["sample"].numpy(),
        timestep=np.zeros(1, np.float32),
        encoder_hidden_states=inputs["encoder_hidden_states"].numpy(),
    )
    assert largest_difference(outputs, components["reference_unet"]["outputs"]) < TOLERANCE


@pytest.mark.parametrize("half", ["cond", "uncond"])
def test_ir_of_denoising_unet(pipe, components, half):
    inputs = components["denoising_unet"]["inputs"]
    embedding = inputs["encoder_hidden_states"].numpy()
    features = {k: v.numpy() for k, v in components["reference_unet"]["outputs"].items()}
    if half == "uncond":
        embedding = np.zeros_like(embedding)
        features = {name: value[:, :0] for name, value in features.items()}
    inputs = {
        "sample": inputs["sample"].numpy(),
        "timestep": np.array([inputs["timestep"]], np.float32),
        "encoder_hidden_states": embedding,
        "pose_features": inputs["pose_features"].numpy(),
        **features,
    }
    output = pipe.parts["denoising_unet"](**inputs)
    golden = components["denoising_unet"]["outputs"][f"noise_pred_{half}"]
    assert np.abs(output["noise_pred"] - golden.numpy()).max() < TOLERANCE
    # The last layer alone, on what came from below. It looks at one feature.
    names = reference_feature_names(pipe.config.unet)
    needed = {*list(inputs)[:4], DEEP_FEATURES, names[-1]}
    assert set(pipe.parts["last_layer"].inputs) == needed
    last_layer, given = pipe.parts["last_layer"], inputs | {DEEP_FEATURES: output[DEEP_FEATURES]}
    alone = last_layer(**{name: given[name] for name in last_layer.inputs})
    assert np.abs(alone["noise_pred"] - golden.numpy()).max() < TOLERANCE


@pytest.mark.parametrize("frames", [7, 8])
def test_attention_over_as_many_frames_as_heads(pipe, frames):
    """In bfloat16, where there is any: 8 heads over 8 frames are no further off than over 7."""
    module = TemporalAttention(64, pipe.config.unet).requires_grad_(False)
    example = torch.randn(16, frames, 64, generator=torch.Generator().manual_seed(0))
    model = ov.convert_model(module, example_input=(example,))
    model.reshape({0: list(example.shape)})
    compiled = ov.Core().compile_model(model, "CPU", precision_config("bf16"))
    output = compiled(example.numpy())[0]
    assert np.abs(output - module(example).numpy()).max() < 0.02


def channel_axis(port) -> int:
    """The one axis whose size is a network's own: of pictures and latents, of tokens, of time."""
    rank = len(port.partial_shape)
    return 1 if rank >= 4 else rank - 1


def test_every_port_has_a_name_and_dynamic_sizes(toy_models, pipe):
    core = ov.Core()
    models = {name: core.read_model(toy_models / f"{name}.xml") for name in PART_NAMES}
    for model in models.values():
        assert all(port.names for port in [*model.inputs, *model.outputs])
        for port in model.inputs:
            for axis, size in enumerate(port.partial_shape):
                assert size.is_dynamic == (axis != channel_axis(port)), (port.names, axis)
    assert models["denoising_unet"].input("sample").partial_shape.to_string() == "[?,4,?,?,?]"
    features = reference_feature_names(pipe.config.unet)
    assert [port.get_any_name() for port in models["reference_unet"].outputs] == features
    assert [port.get_any_name() for port in models["denoising_unet"].inputs][4:] == features


def test_no_reference_with_all_sizes_open(toy_models, components):
    """Nobody makes the IR static here: no reference tokens are none, not half of a shape."""
    inputs = components["denoising_unet"]["inputs"]
    features = components["reference_unet"]["outputs"]
    compiled = ov.Core().compile_model(
        toy_models / "denoising_unet.xml", "CPU", precision_config("f32")
    )
    given = {
        "sample": inputs["sample"],
        "timestep": torch.tensor([float(inputs["timestep"])]),
        "encoder_hidden_states": torch.zeros_like(inputs["encoder_hidden_states"]),
        "pose_features": inputs["pose_features"],
        **{name: value[:, :0] for name, value in features.items()},
    }
    output = compiled({name: value.numpy() for name, value in given.items()})["noise_pred"]
    golden = components["denoising_unet"]["outputs"]["noise_pred_uncond"]
    assert np.abs(output - golden.numpy()).max() < TOLERANCE


def test_reference_unet_ends_at_its_last_norm(toy_models):
    """Nothing behind the last feature is in the IR: its attentions are one fewer than its
    blocks."""
    model = ov.Core().read_model(toy_models / "reference_unet.xml")
    attentions = [op for op in model.get_ops() if op.get_type_name() == "ScaledDotProductAttention"]
    assert len(attentions) == len(model.outputs) - 1


def test_one_token_attention_has_no_softmax(toy_models):
    """Of two attentions per spatial block only the reference attention is left, beside two per
    motion module."""
    model = ov.Core().read_model(toy_models / "denoising_unet.xml")
    attentions = [op for op in model.get_ops() if op.get_type_name() == "ScaledDotProductAttention"]
    assert len(attentions) == 16 + 2 * 21


def modified(folder) -> dict:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.bin")}


def test_current_parts_are_kept_and_damaged_ones_repaired(toy_weights, toy_models, tmp_path):
    shutil.copytree(toy_models, tmp_path, dirs_exist_ok=True)
    times = modified(tmp_path)
    convert_models(toy_weights, tmp_path, compression="none")
    assert modified(tmp_path) == times

    good = (tmp_path / "pose_guider.bin").read_bytes()
    damaged = bytearray(good)
    damaged[100] ^= 1
    (tmp_path / "pose_guider.bin").write_bytes(damaged)
    (tmp_path / "vae_decoder.xml").unlink()
    with pytest.raises(ValueError, match=r"vae_decoder\.xml: got None bytes"):
        read_manifest(tmp_path)
    convert_models(toy_weights, tmp_path, compression="none")
    assert {name for name, time in modified(tmp_path).items() if time != times[name]} == {
        "pose_guider.bin",
        "vae_decoder.bin",
    }
    assert (tmp_path / "pose_guider.bin").read_bytes() == good
    read_manifest(tmp_path)


def test_changed_source_converts_its_part_again(toy_weights, toy_models, tmp_path):
    models, weights = tmp_path / "models", tmp_path / "weights"
    shutil.copytree(toy_models, models)
    shutil.copytree(toy_weights, weights)
    state = torch.load(weights / "pose_guider.pth", weights_only=True)
    state["conv_out.bias"] += 1
    torch.save(state, weights / "pose_guider.pth")
    times = modified(models)
    convert_models(weights, models, compression="none")
    changed = {name for name, time in modified(models).items() if time != times[name]}
    assert changed == {"pose_guider.bin"}


def test_compressed_weights_are_smaller_and_close(toy_models, toy_models_int8, pipe):
    """8-bit weights take a third of the space at most, and the answer stays the same."""
    for name in PART_NAMES:
        plain, small = (folder / f"{name}.bin" for folder in (toy_models, toy_models_int8))
        assert small.stat().st_size < 0.35 * plain.stat().st_size
    int8 = OVAnimateAnyonePipeline.from_pretrained(
        toy_models_int8, ov_config=precision_config("f32")
    )
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 2, 64, 48)).astype(np.float32)
    exact = pipe.parts["pose_guider"](pose_images=x)["pose_features"]
    close = int8.parts["pose_guider"](pose_images=x)["pose_features"]
    assert 0 < np.abs(close - exact).mean() < 0.02 * np.abs(exact).mean()


def test_interrupted_conversion_continues(toy_weights, tmp_path, monkeypatch):
    """What was finished before an interruption is kept, what was not is not trusted."""
    original = export.to_openvino
    parts = [name for name in PART_NAMES if not name.endswith("unet")]  # which take longer

    def interrupted(name, module):
        if name == "vae_decoder":
            raise KeyboardInterrupt
        return original(name, module)

    monkeypatch.setattr(export, "to_openvino", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_models(toy_weights, tmp_path, compression="none", parts=parts)
    with pytest.raises(ValueError, match="lacks vae_decoder"):
        OVAnimateAnyonePipeline.from_pretrained(tmp_path)
    monkeypatch.setattr(export, "to_openvino", original)
    times = modified(tmp_path)
    assert set(times) == {"image_encoder.bin", "vae_encoder.bin"}
    convert_models(toy_weights, tmp_path, compression="none", parts=parts)
    assert {name: modified(tmp_path)[name] for name in times} == times
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST, LOCK} | {
        f"{name}.{ending}" for name in parts for ending in ("xml", "bin")
    }


def test_parts_can_be_converted_one_by_one(toy_weights, tmp_path):
    convert_models(toy_weights, tmp_path, parts=["pose_guider"])
    with pytest.raises(ValueError, match="lacks image_encoder"):
        read_manifest(tmp_path)
    times = modified(tmp_path)
    convert_models(toy_weights, tmp_path, parts=["vae_decoder", "pose_guider"])
    assert set(modified(tmp_path)) == {"pose_guider.bin", "vae_decoder.bin"}
    assert modified(tmp_path)["pose_guider.bin"] == times["pose_guider.bin"]
    for wrong in (["unet"], "pose_guider"):
        with pytest.raises(ValueError, match="parts must be a list of some of"):
            convert_models(toy_weights, tmp_path, parts=wrong)


def test_manifest_names_what_the_models_were_made_from(toy_models):
    manifest = json.loads((toy_models / MANIFEST).read_text())
    recipe = manifest["parts"]["denoising_unet"]["recipe"]
    assert set(recipe["sources"]) == {
        "denoising_unet.pth",
        "motion_module.pth",
        "stable-diffusion-v1-5/unet/config.json",
    }
    assert recipe["versions"]["openvino"] in ov.__version__
    assert manifest["scheduler"]["prediction_type"] == "v_prediction"


def test_config_files_may_leave_out_defaults(toy_weights, tmp_path):
    """The published VAE's config has no scaling factor; the library's default is meant."""
    shutil.copytree(toy_weights, tmp_path, dirs_exist_ok=True)
    vae, clip = tmp_path / "sd-vae-ft-mse/config.json", tmp_path / "image_encoder/config.json"
    for path, key in ((vae, "scaling_factor"), (clip, "image_size")):
        config = json.loads(path.read_text())
        config.pop(key)
        path.write_text(json.dumps(config))
    settings = convert.inference_settings(tmp_path)["config"]
    assert (settings["vae_scaling_factor"], settings["image_size"]) == (0.18215, 224)
    assert settings["vae_scale_factor"] == 8


def test_bad_settings(toy_weights, tmp_path):
    with pytest.raises(ValueError, match="compression must be one of"):
        convert_models(toy_weights, tmp_path, compression="int3")
    with pytest.raises(FileNotFoundError, match="weights must be a folder"):
        convert_models(tmp_path / "nowhere", tmp_path / "models")
    assert not (tmp_path / "models").exists()
