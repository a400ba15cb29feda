"""Strict loading: what is wrong with a checkpoint is said before anything runs."""

import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from animate_anyone.convert.checkpoints import load_part, read_state_dict, source_files


@pytest.fixture
def weights(toy_weights, tmp_path):
    """A copy of the toy weights that a test may damage; files are links until replaced."""
    folder = tmp_path / "weights"
    shutil.copytree(toy_weights, folder, copy_function=os.link)
    return folder


def replace(path, content):
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


def change(path, edit):
    state = torch.load(path, weights_only=True)
    edit(state)
    replace(path, state)


def test_missing_file(weights):
    (weights / "motion_module.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"motion_module\.safetensors or .*motion_module"):
        load_part("denoising_unet", weights)


def test_missing_key(weights):
    change(weights / "reference_unet.pth", lambda state: state.pop("conv_in.bias"))
    with pytest.raises(ValueError, match=r"reference_unet\.pth lacks: conv_in\.bias$"):
        load_part("reference_unet", weights)


def test_missing_motion_key_is_not_silently_random(weights):
    key = "mid_block.motion_modules.0.temporal_transformer.proj_out.weight"
    change(weights / "motion_module.pth", lambda state: state.pop(key))
    with pytest.raises(ValueError, match=f"lacks: {key}"):
        load_part("denoising_unet", weights)


def test_unknown_key(weights):
    change(weights / "pose_guider.pth", lambda state: state.update(stranger=torch.zeros(1)))
    with pytest.raises(ValueError, match="has unknown keys: stranger"):
        load_part("pose_guider", weights)


def test_wrong_shape(weights):
    def edit(state):
        state["conv_in.weight"] = state["conv_in.weight"][:, :2]

    change(weights / "reference_unet.pth", edit)
    with pytest.raises(ValueError, match=r"conv_in\.weight \(got \[32, 2, 3, 3\], expected"):
        load_part("reference_unet", weights)


def test_repeated_key(weights):
    def edit(state):
        state["conv_in.bias"] = torch.zeros(32)

    change(weights / "motion_module.pth", edit)
    with pytest.raises(ValueError, match=r"repeats: conv_in\.bias"):
        load_part("denoising_unet", weights)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git-LFS pointer"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"PK\x03\x04 not a checkpoint", "truncated, corrupt or no plain checkpoint"),
    ],
)
def test_impostor(weights, content, message):
    replace(weights / "pose_guider.pth", content)
    with pytest.raises(ValueError, match=message):
        load_part("pose_guider", weights)


@pytest.mark.parametrize(
    "file", ["motion_module.pth", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"]
)
def test_truncated(weights, file):
    content = (weights / file).read_bytes()
    replace(weights / file, content[: len(content) // 2])
    with pytest.raises(ValueError, match="truncated, corrupt or no plain checkpoint"):
        read_state_dict(weights / file)


@pytest.mark.parametrize("content", [b"abc" * 100, b'{"error": "not found"}', {1: torch.zeros(1)}])
def test_junk_is_refused_in_our_own_words(weights, content):
    replace(weights / "pose_guider.pth", content)
    with pytest.raises(ValueError, match=r"no plain checkpoint|name its tensors by text") as error:
        load_part("pose_guider", weights)
    assert "weights_only" not in str(error.value)


def test_pickle_cannot_run_code(weights, tmp_path):
    trace = tmp_path / "was_here"

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    replace(weights / "pose_guider.pth", {"conv_in.weight": Malicious()})
    with pytest.raises(ValueError, match="no plain checkpoint"):
        load_part("pose_guider", weights)
    assert not trace.exists()


def test_half_precision_safetensors(weights):
    """The same network from float16 safetensors, in float32 again."""
    original = load_part("pose_guider", weights).state_dict()
    path = weights / "pose_guider.pth"
    state = {key: value.half() for key, value in read_state_dict(path).items()}
    save_file(state, path.with_suffix(".safetensors"))
    path.unlink()
    loaded = load_part("pose_guider", weights).state_dict()
    for key, value in loaded.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, original[key].half().float(), rtol=0, atol=0)


def test_spatial_keys_from_stable_diffusion(weights, caplog):
    """A denoising UNet that lacks spatial keys gets them from SD 1.5, and says so."""
    expected = load_part("denoising_unet", weights).state_dict()
    spatial = torch.load(weights / "denoising_unet.pth", weights_only=True)
    torch.save(spatial, weights / "stable-diffusion-v1-5/unet/diffusion_pytorch_model.bin")
    change(weights / "denoising_unet.pth", lambda state: state.pop("conv_in.bias"))
    loaded = load_part("denoising_unet", weights).state_dict()
    assert "lacks 1 keys, taken from" in caplog.text
    torch.testing.assert_close(loaded, expected, rtol=0, atol=0)
    assert any(
        "diffusion_pytorch_model" in file.name for file in source_files("denoising_unet", weights)
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapped_model(weights, caplog, prefix):
    """A training wrapper put its name before each key; the whole was kept in a training state."""
    caplog.set_level("INFO")
    path = weights / "pose_guider.pth"
    expected = load_part("pose_guider", weights).state_dict()
    state = torch.load(path, weights_only=True)
    wrapped = {prefix + key: value for key, value in state.items()}
    for content in (wrapped, {"state_dict": wrapped, "step": 3}):
        replace(path, content)
        got = load_part("pose_guider", weights).state_dict()
        assert all(torch.equal(got[key], expected[key]) for key in expected)
        assert f"{path}: 'module.'" in caplog.text or f"{path}: '_orig_mod.'" in caplog.text


def test_half_precision_files(weights):
    """The names that diffusers gives them; a full one beside it comes first."""
    path = weights / "sd-vae-ft-mse" / "diffusion_pytorch_model"
    [whole] = path.parent.glob("diffusion_pytorch_model.*")
    state = read_state_dict(whole)
    half = whole.with_name("diffusion_pytorch_model.fp16.safetensors")
    save_file({key: value.half().contiguous() for key, value in state.items()}, half)
    assert whole in source_files("vae_encoder", weights)
    whole.unlink()
    assert half in source_files("vae_encoder", weights)
    weight = load_part("vae_encoder", weights).state_dict()
    assert all(value.dtype == torch.float32 for value in weight.values())
