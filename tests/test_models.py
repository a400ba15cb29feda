"""Every network in PyTorch equals what the reference implementation computed."""

import json

import pytest
import torch

from animate_anyone.base.config import UNetConfig, reference_feature_names
from animate_anyone.convert.checkpoints import load_part
from animate_anyone.networks import DenoisingUNet, PoseGuider, ReferenceUNet
from animate_anyone.networks.attention import OneTokenAttention
from tools.random_weights import FULL_CONFIGS

from conftest import ROOT

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def load(toy_weights):
    """Parts by name, in float64: the toy's norms over two channels at one pixel enlarge float32's
    rounding by more than the tolerance, so the comparison is made without rounding of our own."""
    return lambda name: load_part(name, toy_weights).double()


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def denoise_inputs(components) -> dict:
    inputs = dict(components["denoising_unet"]["inputs"])
    inputs["timestep"] = torch.tensor([float(inputs["timestep"])])
    return inputs


def denoising_unet(module, components, conditional=True, **changes) -> torch.Tensor:
    """The golden inputs with some of them changed; without a reference for the other half."""
    inputs = denoise_inputs(components) | changes
    if not conditional:
        inputs["encoder_hidden_states"] = torch.zeros_like(inputs["encoder_hidden_states"])
    golden = components["reference_unet"]["outputs"]
    names = reference_feature_names(module.config)
    references = changes.get("references", [golden[name] for name in names])
    arguments = [
        inputs[name].double()
        for name in ("sample", "timestep", "encoder_hidden_states", "pose_features")
    ]
    if conditional:
        arguments += [reference.double() for reference in references]
    with torch.no_grad():
        return module(*arguments)


@pytest.mark.parametrize("name", ["image_encoder", "vae_encoder", "vae_decoder", "pose_guider"])
def test_network_of_one_input(load, components, name):
    (example,), (golden,) = components[name]["inputs"], components[name]["outputs"]
    with torch.no_grad():
        output = load(name)(example.double())
    assert difference(output, golden) < TOLERANCE


def test_reference_unet(load, components):
    inputs, golden = components["reference_unet"]["inputs"], components["reference_unet"]["outputs"]
    module = load("reference_unet")
    with torch.no_grad():
        features = module(
            inputs["sample"].double(),
            torch.zeros(1, dtype=torch.float64),
            inputs["encoder_hidden_states"].double(),
        )
    names = reference_feature_names(module.config)
    assert set(names) == set(golden)
    for name, feature in zip(names, features, strict=True):
        assert difference(feature, golden[name]) < TOLERANCE


@pytest.mark.parametrize("half", ["cond", "uncond"])
def test_denoising_unet(load, components, half):
    golden = components["denoising_unet"]["outputs"][f"noise_pred_{half}"]
    output = denoising_unet(load("denoising_unet"), components, conditional=half == "cond")
    assert difference(output, golden) < TOLERANCE


def test_empty_reference_is_no_reference(load, components):
    module = load("denoising_unet")
    golden = components["reference_unet"]["outputs"]
    empty = [golden[name][:, :0] for name in reference_feature_names(module.config)]
    zeros = torch.zeros_like(components["denoising_unet"]["inputs"]["encoder_hidden_states"])
    with_empty = denoising_unet(module, components, references=empty, encoder_hidden_states=zeros)
    without = denoising_unet(module, components, conditional=False)
    assert difference(with_empty, without) < 1e-9


@pytest.mark.parametrize("cut", ["reference", "pose", "motion", "token"])
def test_every_input_matters(load, components, cut):
    """What is cut off must show: the golden comparison above cannot pass without it."""
    module = load("denoising_unet")
    inputs = denoise_inputs(components)
    changes = {}
    if cut == "reference":
        changes["references"] = []
    if cut == "pose":
        changes["pose_features"] = torch.zeros_like(inputs["pose_features"])
    if cut == "token":
        changes["encoder_hidden_states"] = torch.zeros_like(inputs["encoder_hidden_states"])
    if cut == "motion":
        for name, parameter in module.named_parameters():
            if "temporal_transformer.proj_out" in name:
                parameter.zero_()
    output = denoising_unet(module, components, **changes)
    golden = components["denoising_unet"]["outputs"]["noise_pred_cond"]
    assert difference(output, golden) > 100 * TOLERANCE


def test_frames_meet_in_motion_modules_only(load, components):
    """Without motion modules a frame's prediction does not depend on the other frames."""
    inputs = denoise_inputs(components)
    changed = inputs["sample"].clone()
    changed[:, :, 0] += 1
    module = load("denoising_unet")
    moved = [denoising_unet(module, components, sample=x) for x in (inputs["sample"], changed)]
    assert difference(moved[0][:, :, 1:], moved[1][:, :, 1:]) > 100 * TOLERANCE
    for name, parameter in module.named_parameters():
        if "temporal_transformer.proj_out" in name:
            parameter.zero_()
    still = [denoising_unet(module, components, sample=x) for x in (inputs["sample"], changed)]
    assert difference(still[0][:, :, 1:], still[1][:, :, 1:]) < 1e-9


def test_batch_rows_are_independent(load, components):
    """Two samples with references of their own give what each gives alone."""
    module = load("denoising_unet")
    golden = components["reference_unet"]["outputs"]
    names = reference_feature_names(module.config)
    inputs = denoise_inputs(components)
    pair = {
        name: torch.cat([value, value.flip(-1)])
        for name, value in inputs.items()
        if name != "timestep"
    }
    references = [torch.cat([golden[name], golden[name].flip(1) + 0.5]) for name in names]
    both = denoising_unet(module, components, **pair, references=references)
    for row in range(2):
        one = {name: value[row : row + 1] for name, value in pair.items()}
        alone = denoising_unet(
            module, components, **one, references=[x[row : row + 1] for x in references]
        )
        assert difference(both[row : row + 1], alone) < 1e-9


def test_one_token_attention_is_attention():
    """The shortcut equals diffusers' attention with softmax over the one token."""
    torch.manual_seed(0)
    attention = OneTokenAttention(query_dim=32, cross_attention_dim=24, heads=4, dim_head=8)
    tokens, token = torch.randn(2, 7, 32), torch.randn(2, 1, 24)
    full = super(OneTokenAttention, attention).forward(tokens, encoder_hidden_states=token)
    torch.testing.assert_close(attention(token).expand_as(full), full)


FULL = UNetConfig.from_dict(FULL_CONFIGS["stable-diffusion-v1-5/unet/config.json"])
FULL_SIZE = {
    "reference_unet": lambda: ReferenceUNet(FULL),
    "denoising_unet": lambda: DenoisingUNet(FULL),
    "pose_guider": lambda: PoseGuider((16, 16, 32, 32, 96, 96, 256, 320)),
}


@pytest.mark.parametrize("file", FULL_SIZE)
def test_full_size_keys(file):
    """At full size the modules have exactly the keys and shapes of the published checkpoints."""
    keys = json.loads((ROOT / "tests" / "golden" / "keys" / f"{file}.json").read_text())
    if file == "denoising_unet":
        motion = ROOT / "tests" / "golden" / "keys" / "motion_module.json"
        keys |= json.loads(motion.read_text())
    with torch.device("meta"):
        module = FULL_SIZE[file]()
    assert {key: list(value.shape) for key, value in module.state_dict().items()} == keys
