"""The whole path: golden cases, any size and length, seeds, callbacks and bad input."""

import json

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from animate_anyone.base.config import GenerationConfig
from animate_anyone.base.layout import DEEP_FEATURES
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.run.presets import PRESETS, resolve_sampling
from animate_anyone.run.turns import Interrupted
from animate_anyone.runtime import precision_config

from conftest import load_case, psnr, run_case


@pytest.mark.parametrize("name", ["short", "noguide", "odd"])
def test_golden_case(pipe, name):
    golden = load_case(name)[3]
    latents, video = run_case(pipe, name)
    assert np.abs(latents - golden["latents"].numpy()).max() < 5e-3
    assert psnr(video, golden["video"].float().permute(0, 2, 3, 4, 1).numpy()) > 45


def test_golden_case_of_two_windows(pipe, monkeypatch):
    """Case "long" cannot be compared value by value: at its one-pixel level two channels of a norm
    are so nearly equal that rounding decides, and float32 and float64 of one and the same PyTorch
    module already end 0.07 apart (root mean square). So the golden latents must be as near as
    that, and several times nearer than any other way to lay the windows brings them."""
    golden = load_case("long")[3]["latents"].numpy()

    def distance() -> float:
        latents, _ = run_case(pipe, "long", output_type="latent")
        return float(np.sqrt(np.mean((latents - golden) ** 2)))

    right = distance()
    assert right < 0.1
    first = list(range(24))
    for last in (
        list(range(6, 30)),  # no wrap
        [*range(24, 30), *range(18)],  # no overlap
        [*range(16, 30), *range(10)],  # too much overlap
    ):
        wrong = [(first, [1.0] * 24), (last, [1.0] * 24)]
        monkeypatch.setattr(
            "animate_anyone.run.pipeline.plan_windows", lambda *_, w=wrong: lambda *_: w
        )
        assert distance() > 5 * right


@pytest.mark.parametrize("size", [(48, 64, 5), (72, 56, 6), (64, 96, 30), (256, 128, 1)])
def test_one_ir_serves_every_size(pipe, toy_models, size):
    """Frames come out in the size asked for, and each depends on its own pose map."""
    width, height, num_frames = size
    _, reference, poses, _ = load_case("long")
    before = {path.name: path.stat().st_mtime_ns for path in toy_models.iterdir()}
    settings = {"num_inference_steps": 1, "output_type": "np", "width": width, "height": height}

    def run(poses):
        generator = torch.Generator().manual_seed(1)
        return pipe(reference, poses, generator=generator, **settings).frames

    video = run(poses[:num_frames])
    assert video.shape == (1, num_frames, height, width, 3)
    assert video.min() >= 0 and video.max() <= 1 and video.std() > 0.01
    other = run([*poses[1:num_frames], poses[0].transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    assert np.abs(video - other).max() > 1e-3
    assert before == {path.name: path.stat().st_mtime_ns for path in toy_models.iterdir()}


def test_seed(pipe):
    first, again = (run_case(pipe, "noguide")[0] for _ in range(2))
    other, _ = run_case(pipe, "noguide", generator=torch.Generator().manual_seed(12))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("change", ["reference_image", "pose_images", "guidance_scale"])
def test_every_argument_matters(pipe, change):
    _, reference, poses, _ = load_case("odd")
    changes = {
        "reference_image": reference.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "pose_images": poses[::-1],
        "guidance_scale": 1.0,
    }
    plain, _ = run_case(pipe, "odd")
    changed, _ = run_case(pipe, "odd", **{change: changes[change]})
    assert np.abs(plain - changed).max() > 1e-3  # the same run again is equal bit by bit


@pytest.fixture
def calls(pipe, monkeypatch) -> list[int]:
    """How many tokens of the reference each call of the denoising UNet sees: 0 in the
    unconditional half."""
    tokens, part = [], pipe.parts["denoising_unet"]

    def counting(**inputs):
        tokens.append(inputs["down_blocks.0.attentions.0.transformer_blocks.0"].shape[1])
        return part(**inputs)

    monkeypatch.setitem(pipe.parts, "denoising_unet", counting)
    return tokens


def halves(calls: list[int]) -> tuple[int, int]:
    """Calls of the conditional half, and of the other."""
    return sum(tokens > 0 for tokens in calls), calls.count(0)


def test_guidance_of_one_runs_the_conditional_half_alone(pipe, calls):
    run_case(pipe, "noguide")
    assert calls == [48] * 3  # three steps with a reference of 8 * 6 tokens
    calls.clear()
    run_case(pipe, "odd")
    assert sorted(calls) == [0] * 3 + [63] * 3


def test_guidance_interval_and_cache_interval(pipe, calls):
    """Of six steps, guidance in the middle two; with a cache, four conditional halves of six."""
    settings = {"num_inference_steps": 6, "guidance_scale": 2.0, "output_type": "latent"}
    run_case(pipe, "noguide", guidance_interval=(0.3, 0.6), **settings)
    assert halves(calls) == (6, 2)
    calls.clear()
    run_case(pipe, "noguide", cache_interval=3, **settings)
    assert halves(calls) == (4, 4)


def test_deep_cache_interval(pipe, calls, monkeypatch):
    """Two windows with guidance at an odd size, five steps, the first and the fourth of them full:
    the last layer runs alone in the others, for each window and half on what these gave before."""
    settings = {"num_inference_steps": 5, "guidance_scale": 2.0, "output_type": "latent"}
    settings |= {"context_frames": 3, "context_overlap": 1, "num_frames": 4}
    full, last_layer = pipe.parts["denoising_unet"], pipe.parts["last_layer"]
    given, taken = [], []

    def noting(**inputs):
        outputs = full(**inputs)
        given.append(outputs[DEEP_FEATURES].copy())
        return outputs

    def taking(**inputs):
        taken.append(inputs[DEEP_FEATURES].copy())
        return last_layer(**inputs)

    exact, _ = run_case(pipe, "odd", **settings)
    calls.clear()
    monkeypatch.setitem(pipe.parts, "denoising_unet", noting)
    taking.inputs = last_layer.inputs
    monkeypatch.setitem(pipe.parts, "last_layer", taking)
    cached, _ = run_case(pipe, "odd", deep_cache_interval=3, **settings)
    first, second = given[: len(given) // 2], given[len(given) // 2 :]
    wanted = [*first, *first, *second]
    assert halves(calls) == (4, 4)
    assert len(taken) == len(wanted) and all(map(np.array_equal, taken, wanted))
    assert np.isfinite(cached).all() and not np.array_equal(cached, exact)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(pipe, calls, monkeypatch, preset):
    """Each takes its steps with its scheduler, leaves the pipeline's alone, and can be
    overridden."""
    own = pipe.scheduler
    monkeypatch.setattr(pipe, "generation_config", GenerationConfig())
    settings = {"guidance_scale": None, "num_inference_steps": None, "output_type": "latent"}
    latents, _ = run_case(pipe, "noguide", preset=preset, **settings)
    steps = int(30 * PRESETS[preset].step_share)
    guided = sum(step / steps < PRESETS[preset].guidance_interval[1] for step in range(steps))
    assert halves(calls) == (steps, guided)
    assert np.isfinite(latents).all() and pipe.scheduler is own
    run_case(pipe, "noguide", preset=preset, **settings | {"num_inference_steps": 2})
    assert halves(calls)[0] == steps + 2


def test_a_preset_takes_a_share_of_the_recommended_steps(pipe):
    for recommended, steps in ((30, 7), (4, 1), (2, 1)):
        config = GenerationConfig(num_inference_steps=recommended)
        settled = resolve_sampling("fast", config, pipe.scheduler)
        assert (settled.num_inference_steps, settled.guidance_scale) == (steps, 3.5)
    assert isinstance(settled.scheduler, diffusers.UniPCMultistepScheduler)


def test_scheduler_of_a_call_is_copied(pipe):
    """It takes the place of the pipeline's own for one call; the caller's stays untouched."""
    unipc = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    before = unipc.timesteps.clone()
    settings = {"num_inference_steps": 3, "output_type": "latent"}
    given, _ = run_case(pipe, "noguide", scheduler=unipc, **settings)
    usual, _ = run_case(pipe, "noguide", **settings)
    assert torch.equal(unipc.timesteps, before)
    assert not np.array_equal(given, usual)


def test_pose_features_of_a_long_video_are_not_kept(pipe, monkeypatch):
    """They are computed again for each window, and the result is the same bit by bit."""
    settings = {"num_inference_steps": 1, "output_type": "latent"}
    kept, _ = run_case(pipe, "long", **settings)
    calls = pipe.parts["pose_guider"].calls
    monkeypatch.setattr("animate_anyone.run.encode.KEEP_BELOW_BYTES", 0)
    again, _ = run_case(pipe, "long", **settings)
    assert np.array_equal(kept, again)
    assert pipe.parts["pose_guider"].calls - calls == 2 * 24  # two windows


def test_windows_are_shared_by_devices(pipe, toy_models):
    """Two pools of one core each give what one gives, and both have worked."""
    both = OVAnimateAnyonePipeline.from_pretrained(
        toy_models,
        device=["CPU", "CPU"],
        ov_config=precision_config("f32") | {"INFERENCE_NUM_THREADS": 1},
    )
    settings = {"num_inference_steps": 2, "output_type": "latent", "guidance_scale": 1.0}
    settings["deep_cache_interval"] = 2  # all layers in the first step, the last in the second
    shared, _ = run_case(both, "long", **settings)
    alone, _ = run_case(pipe, "long", **settings)
    assert np.abs(shared - alone).max() < 5e-3
    for name in ("denoising_unet", "last_layer"):
        assert [part.calls for part in both.parts[name].parts] == [1, 1]
        assert both.parts[name].calls == 2
    assert both.parts["vae_decoder"].devices == ["CPU"]


def test_networks_are_kept_while_shapes_stay(pipe):
    run_case(pipe, "noguide")
    requests = {name: part._request for name, part in pipe.parts.items()}
    run_case(pipe, "noguide", num_frames=4)
    assert all(pipe.parts[name]._request is request for name, request in requests.items())
    run_case(pipe, "noguide", num_frames=3)
    kept = {name for name, request in requests.items() if pipe.parts[name]._request is request}
    assert kept == set(requests) - {"denoising_unet"}


def test_output_types(pipe):
    settings = {"num_inference_steps": 1}
    images = run_case(pipe, "noguide", output_type="pil", **settings)[1]
    array = run_case(pipe, "noguide", output_type="np", **settings)[1]
    tensor = run_case(pipe, "noguide", output_type="pt", **settings)[1]
    latents, latent = run_case(pipe, "noguide", output_type="latent", **settings)
    assert [len(images), len(images[0]), images[0][0].size] == [1, 4, (64, 48)]
    assert np.abs(np.asarray(images[0][2]) / 255 - array[0, 2]).max() <= 0.5 / 255 + 1e-6
    assert array.shape == (1, 4, 48, 64, 3) and tensor.shape == (1, 4, 3, 48, 64)
    assert np.array_equal(tensor.permute(0, 1, 3, 4, 2).numpy(), array)
    assert np.array_equal(latent.numpy(), latents)


def test_size_follows_the_pose_maps(pipe):
    poses = [Image.new("RGB", (101, 150))]
    assert pipe.resolve_size(poses) == (104, 152)
    assert pipe.resolve_size(poses, width=64) == (64, 96)
    assert pipe.resolve_size(poses, height=96) == (64, 96)
    assert pipe.resolve_size(poses, width=8, height=16) == (8, 16)


def test_callback_sees_every_step_and_may_change_the_latents(pipe):
    seen = []

    def record(pipeline, step, timestep, values):
        seen.append((step, int(timestep), tuple(values["latents"].shape)))

    _, reference, poses, _ = load_case("long")
    arguments = {"width": 48, "height": 64, "num_inference_steps": 3, "output_type": "latent"}
    pipe(reference, poses, callback_on_step_end=record, **arguments)
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert [timestep for _, timestep, _ in seen] == pipe.scheduler.timesteps.tolist()
    assert seen[0][2] == (1, 4, 30, 8, 6)

    def blank(pipeline, step, timestep, values):
        return {"latents": torch.zeros_like(values["latents"])} if step == 2 else None

    output = pipe(reference, poses[:2], callback_on_step_end=blank, **arguments)
    assert not output.frames.any()


def test_callback_may_not_change_the_form_of_the_latents(pipe):
    def shorten(pipeline, step, timestep, values):
        return {"latents": values["latents"][:, :, :1]}

    with pytest.raises(ValueError, match="latents of callback_on_step_end must have shape"):
        run_case(pipe, "noguide", callback_on_step_end=shorten)


def test_interrupt_stops_before_the_next_network_call(pipe):
    steps = []

    def stop(pipeline, step, timestep, values):
        steps.append(step)
        pipeline.interrupt()

    with pytest.raises(Interrupted):
        run_case(pipe, "short", callback_on_step_end=stop)
    assert steps == [0]
    _, reference, _, _ = load_case("noguide")
    assert np.isfinite(pipe.encode_image(reference)).all()  # what comes next is not affected


@pytest.mark.parametrize("name", ["UniPCMultistepScheduler", "DPMSolverMultistepScheduler"])
def test_scheduler_can_be_replaced(pipe, monkeypatch, name):
    plain, _ = run_case(pipe, "noguide", num_inference_steps=6)
    scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    monkeypatch.setattr(pipe, "scheduler", scheduler)
    latents, _ = run_case(pipe, "noguide", num_inference_steps=6)
    assert np.isfinite(latents).all()
    assert 1e-3 < np.abs(latents - plain).max()
    assert latents.std() == pytest.approx(plain.std(), rel=0.5)


def test_reference_of_any_mode(pipe):
    """Alpha is composited on white; a grey or palette picture counts as its RGB."""
    _, reference, _, _ = load_case("noguide")
    clear = reference.convert("RGBA")
    clear.putalpha(Image.new("L", reference.size, 0))
    white = Image.new("RGB", reference.size, "white")
    settings = {"num_inference_steps": 1}
    transparent, _ = run_case(pipe, "noguide", reference_image=clear, **settings)
    plain, _ = run_case(pipe, "noguide", reference_image=white, **settings)
    assert np.array_equal(transparent, plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 450}, "width must be a multiple of 8, got 450"),
        ({"height": 0}, "height must be at least 1, got 0"),
        ({"width": 64.0}, "width must be an integer, got float 64.0"),
        ({"num_frames": 9}, r"num_frames must be at most the number of pose images \(4\), got 9"),
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({"guidance_scale": -1}, "guidance_scale must be at least 0 and finite, got -1"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be at least 0 and finite, got nan"),
        ({"guidance_scale": float("inf")}, "guidance_scale must be at least 0 and finite, got inf"),
        ({"guidance_scale": "3"}, "guidance_scale must be .*, got str"),
        ({"generator": 3}, "generator must be .*, got int"),
        ({"callback_on_step_end": 3}, "callback_on_step_end must be .*, got int"),
        ({"num_inference_steps": 1001}, "1001"),
        ({"pose_images": Image.new("RGB", (8, 8))}, "pose_images must be a list of PIL images"),
        ({"pose_images": [Image.new("RGB", (0, 5))]}, "pose_images must not be empty"),
        ({"context_frames": 33}, "context_frames must be at most 32"),
        ({"context_overlap": 24}, r"context_overlap must be .* below context_frames \(24\)"),
        ({"context_overlap": -1}, "context_overlap must be at least 0"),
        ({"guidance_interval": 0.5}, "guidance_interval must be Sequence, got float"),
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval must be two rising numbers"),
        ({"guidance_interval": (0, 2)}, "guidance_interval must be two rising numbers"),
        (
            {"preset": "best"},
            r"preset must be one of \('quality', 'balanced', 'fast'\), got 'best'",
        ),
        ({"preset": ""}, "preset must be one of .*, got ''"),
        ({"preset": ["fast"]}, "preset must be str.*, got list"),
        (
            {"scheduler": diffusers.FlowMatchEulerDiscreteScheduler()},
            "scheduler must be one of dif",
        ),
        ({"scheduler": "DDIM"}, "scheduler must be .*SchedulerMixin.*, got str"),
        ({"cache_interval": 0}, "cache_interval must be at least 1, got 0"),
        ({"deep_cache_interval": 1.5}, "deep_cache_interval must be an integer, got float 1.5"),
        ({"context_overlap": 2.5}, "context_overlap must be .*, got float"),
        ({"pose_images": [Image.new("F", (8, 8))]}, "pose_images must have 8 or 16 bits .* mode F"),
        ({"output_type": "gif"}, "output_type must be one of"),
        ({"pose_images": []}, "pose_images must hold at least one image, got none"),
        ({"pose_images": [np.zeros((8, 8, 3))]}, "pose_images must be made of PIL images"),
        ({"reference_image": "me.png"}, "reference_image must be made of PIL images, got str"),
    ],
)
def test_bad_input_is_refused_before_any_network_runs(pipe, monkeypatch, changes, message):
    def never(**inputs):
        pytest.fail("a network ran")

    for name in pipe.parts:
        monkeypatch.setitem(pipe.parts, name, never)
    with pytest.raises((ValueError, TypeError), match=message):
        run_case(pipe, "noguide", **changes)


def test_bad_folder_device_and_config(toy_models, tmp_path):
    open_pipeline = OVAnimateAnyonePipeline.from_pretrained
    with pytest.raises(FileNotFoundError, match="is no model folder"):
        open_pipeline(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no model folder"):
        open_pipeline(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"device 'TPU' does not exist here; there are \['CPU'"):
        open_pipeline(toy_models, device="TPU")
    with pytest.raises(ValueError, match="device names a part 'unet'"):
        open_pipeline(toy_models, device={"unet": "CPU"})
    with pytest.raises(ValueError, match=r"vae_decoder runs on one device, got \['CPU', 'CPU'\]"):
        open_pipeline(toy_models, device={"vae_decoder": ["CPU", "CPU"]})
    with pytest.raises(ValueError, match="device must name at least one device"):
        open_pipeline(toy_models, device=[])
    with pytest.raises(ValueError, match="ov_config names a part 'unet'"):
        open_pipeline(toy_models, ov_config={"unet": {}})


def test_virtual_device(pipe, toy_models):
    """AUTO, which does not tell its precision, gives what the CPU gives."""
    auto = OVAnimateAnyonePipeline.from_pretrained(
        toy_models, device="AUTO", ov_config=precision_config("f32")
    )
    settings = {"num_inference_steps": 1, "output_type": "latent"}
    latents = [run_case(each, "noguide", **settings)[1] for each in (auto, pipe)]
    assert torch.allclose(*latents, atol=1e-4)


def test_transparent_pose_maps_lie_on_black(pipe):
    _, _, poses, _ = load_case("noguide")
    clear = [pose.convert("RGBA") for pose in poses]
    for pose in clear:
        pixels = np.array(pose)
        pixels[..., 3] = 255 * pixels[..., :3].any(axis=-1)
        pose.paste(Image.fromarray(pixels))
    settings = {"num_inference_steps": 1}
    plain, _ = run_case(pipe, "noguide", **settings)
    transparent, _ = run_case(pipe, "noguide", pose_images=clear, **settings)
    assert np.array_equal(plain, transparent)


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.pop("scheduler"),
        lambda manifest: manifest["config"].pop("unet"),
        lambda manifest: manifest["config"].update(vae_scaling_factor=0),
        lambda manifest: manifest.update(parts=None),
        lambda manifest: manifest["parts"].update(vae_decoder=[]),
        lambda manifest: manifest["parts"]["vae_decoder"].update(files={}),
    ],
)
def test_damaged_manifest(toy_models, tmp_path, damage):
    for path in toy_models.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    damage(manifest)
    path.unlink()
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        OVAnimateAnyonePipeline.from_pretrained(tmp_path)


def test_damaged_ir(toy_models, tmp_path):
    for path in toy_models.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    size = (tmp_path / "vae_decoder.xml").stat().st_size
    (tmp_path / "vae_decoder.xml").unlink()
    (tmp_path / "vae_decoder.xml").write_bytes(bytes(size))
    with pytest.raises(ValueError, match=r"vae_decoder\.xml has changed since it was converted"):
        OVAnimateAnyonePipeline.from_pretrained(tmp_path)


def test_device_and_config_per_part(toy_models):
    pipe = OVAnimateAnyonePipeline.from_pretrained(
        toy_models,
        device={"vae_decoder": "CPU"},
        ov_config={"NUM_STREAMS": "1", "denoising_unet": {"INFERENCE_PRECISION_HINT": "f32"}},
    )
    grouped = {"NUM_STREAMS": "1", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"}  # the least width
    assert pipe.parts["vae_decoder"]._ov_config == grouped
    assert pipe.parts["denoising_unet"]._ov_config == {
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    bf16 = precision_config("bf16")
    for device, own, config in (("CPU", bf16, bf16), ("AUTO", bf16, bf16), ("AUTO", {}, {})):
        pipe = OVAnimateAnyonePipeline.from_pretrained(toy_models, device, own)
        assert pipe.parts["vae_decoder"]._ov_config == config
