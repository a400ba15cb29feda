"""Reference image + pose frames → animated frames, from IR alone.

Axes: b batch, c channels, f frames, H W pixels, h w latent rows and columns, e width of the image
embedding.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import diffusers
import numpy as np
import openvino as ov
import torch
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from tqdm.auto import tqdm

from .checks import (
    check_choice,
    check_context,
    check_frames,
    check_images,
    check_multiple,
    check_same_form,
    check_type,
)
from .config import DEEP_FEATURES, PART_NAMES, GenerationConfig, UNetConfig, reference_feature_names
from .context import context_windows
from .denoise import denoise
from .manifest import read_manifest
from .preprocess import clip_pixels, picture_pixels
from .presets import settle
from .runtime import (
    OVPart,
    OVReplicas,
    check_devices,
    per_part_configs,
    per_part_devices,
    with_wide_groups,
)

logger = logging.getLogger(__name__)

OUTPUT_TYPES = ("pil", "np", "pt", "latent")

# A part that runs once per video and weighs more than this is freed before the loop: at full size
# the reference UNet would hold as much memory as the denoising UNet, to save seconds of compiling.
# Pose features that would take more are not kept either.
KEEP_BELOW_BYTES = 2**28


class Interrupted(RuntimeError):
    """The run was stopped by `OVAnimateAnyonePipeline.interrupt`."""


@dataclass
class AnimateAnyoneOutput(BaseOutput):
    """Frames in the form that `output_type` asked for:

    "pil"     list of one list of f images
    "np"      float32 (1, f, H, W, 3) in [0, 1]
    "pt"      float32 (1, f, 3, H, W) in [0, 1]
    "latent"  float32 (1, c, f, h, w), not divided by the VAE's scaling factor
    """

    frames: list[list[Image.Image]] | np.ndarray | torch.Tensor


class OVAnimateAnyonePipeline:
    """AnimateAnyone (arXiv 2311.17117) on six OpenVINO networks.

    Create it with `from_pretrained`. `scheduler` may be replaced by any diffusers scheduler:
    `pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)`.
    `parts["last_layer"]` is the end of `parts["denoising_unet"]`, for steps that run it alone.
    `generation_config` holds the steps, guidance and size that the model is best used with,
    `num_timesteps` how many steps the last run had.
    """

    def __init__(
        self,
        parts: Mapping[str, OVPart],
        scheduler,
        config: Mapping,
        generation_config: GenerationConfig,
    ):
        self.parts = dict(parts) | {"last_layer": parts["denoising_unet"].after(DEEP_FEATURES)}
        self.scheduler = scheduler
        self.generation_config = generation_config
        self.unet_config = UNetConfig.from_dict(config["unet"])
        self.vae_scaling_factor = config["vae_scaling_factor"]
        self.vae_scale_factor = config["vae_scale_factor"]
        self.image_size = config["image_size"]
        self.num_timesteps = 0
        self._interrupt = False
        self._one_pose = threading.Lock()
        self._workers = len(parts["denoising_unet"].devices)

    @classmethod
    def from_pretrained(cls, model_dir, device="CPU", ov_config=None) -> "OVAnimateAnyonePipeline":
        """Open a folder that `convert_models` wrote. Networks are compiled when first used.

        Args:
            model_dir: folder with the IRs and their manifest.
            device: one device for all parts, or {part name: device}; parts left out run on CPU.
                A list of devices, for all or for the denoising UNet, shares the context windows of
                a long video among them as they are free; other parts run on its first one.
            ov_config: OpenVINO properties for all parts; under a part's name, a mapping of
                properties for that part alone. Where none asks for a precision, CPUs round to 8 bits
                what they multiply with 8-bit weights, in groups as wide as the UNets' first level;
                `runtime.precision_config("bf16")` turns that off.

        Raises:
            FileNotFoundError, ValueError: no model folder, an unfinished one, or a device or part
                that does not exist.
            TypeError: device or ov_config are of another kind.
        """
        model_dir = Path(model_dir)
        manifest = read_manifest(model_dir)
        core = ov.Core()
        devices = per_part_devices(device)
        check_devices(core, chain.from_iterable(devices.values()))
        configs = per_part_configs(ov_config or {})
        unet = UNetConfig.from_dict(manifest["config"]["unet"])
        # The unconditional half has no reference: one compiled network takes m = 0 as well.
        dynamic = {"denoising_unet": {name: 1 for name in reference_feature_names(unet)}}
        width = unet.block_out_channels[0]
        parts = {}
        for name in PART_NAMES:
            path, own = model_dir / f"{name}.xml", configs[name]
            replicas = [
                OVPart(core, path, each, with_wide_groups(own, each, width), dynamic.get(name))
                for each in devices[name]
            ]
            parts[name] = replicas[0] if len(replicas) == 1 else OVReplicas(replicas)
        scheduler_class = getattr(diffusers, manifest["scheduler"]["_class_name"])
        scheduler = scheduler_class.from_config(manifest["scheduler"])
        generation_config = GenerationConfig.from_dict(manifest["generation"])
        return cls(parts, scheduler, manifest["config"], generation_config)

    def __call__(
        self,
        reference_image: Image.Image,
        pose_images: Sequence[Image.Image],
        *,
        width: int | None = None,
        height: int | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable | None = None,
        context_frames: int = 24,
        context_overlap: int = 4,
        preset: str | None = None,
        scheduler=None,
        guidance_interval: tuple[float, float] | None = None,
        cache_interval: int | None = None,
        deep_cache_interval: int | None = None,
    ) -> AnimateAnyoneOutput:
        """Animate a character.

        Args:
            reference_image: who is to move; any size and mode, resized to (width, height).
            pose_images: pose maps, one per frame, as `animate_anyone.pose` draws them.
            width, height: of the result in pixels, multiples of 8. If one is None it follows from
                the pose maps' aspect, if both are, it is the model's own size or that of the pose
                maps, rounded to the nearest multiple.
            num_frames: how many pose maps to use, from the first on; None for all.
            num_inference_steps: denoising steps; None: the preset's share of those that the model
                recommends, 30 for the published weights.
            guidance_scale: strength of classifier-free guidance; 1 or less runs the conditional
                half alone, in half the time. None: as the model recommends, 3.5 for the
                published weights.
            generator: CPU random generator for the initial noise.
            output_type: "pil", "np", "pt" or "latent", see `AnimateAnyoneOutput`.
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": …}) after each
                step; latents in the dictionary that it returns are used from there on.
            context_frames: longest window of frames that pass through the network together.
            context_overlap: frames that neighbouring windows share.
            preset: "quality", "balanced" or "fast", see `presets.PRESETS`: decides about steps,
                scheduler and guidance_interval where they are not given. None is "quality".
            scheduler: a diffusers scheduler, which is copied; None: the preset's, or `self.scheduler`.
            guidance_interval: the share of the steps, from and up to, that guidance is used in; the
                others take half the time. None: the preset's.
            cache_interval: the denoising UNet runs in every so many steps, in the first two (also
                of each section that guidance_interval makes) and in the last; in between, its
                answer is extrapolated from the two before. None or 1: in every step.
            deep_cache_interval: of the steps in which the denoising UNet runs, the first of every so
                many (also of each section that guidance_interval makes) runs all of it. The others run
                its last layer alone, in a twelfth of the time, on what came from below in the last full
                one. That is kept for each window and half of guidance: at the published size 4.6 MB
                per frame of 448×512, or 6.6 GB for 600 frames with guidance. For many steps: in few of
                them too much changes from one to the next. None or 1: all of it in every step.

        Raises:
            ValueError, TypeError: an argument is out of range; before any network runs.
            Interrupted: `interrupt` was called during the run.
        """
        # 1. Check and settle the arguments
        width, height = self.resolve_size(pose_images, width, height)
        num_frames = len(pose_images) if num_frames is None else num_frames
        check_images("reference_image", [reference_image])
        check_frames(num_frames, len(pose_images))
        check_context(context_frames, context_overlap, self.unet_config.motion_max_frames)
        check_choice("output_type", output_type, OUTPUT_TYPES)
        check_type("generator", generator, torch.Generator | None)
        check_type("callback_on_step_end", callback_on_step_end, Callable | None)
        windows = context_windows(num_frames, context_frames, context_overlap)
        sampling = settle(
            preset,
            self.generation_config,
            self.scheduler,
            scheduler=scheduler,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            cache_interval=cache_interval,
            deep_cache_interval=deep_cache_interval,
        )
        scheduler = sampling.scheduler
        scheduler.set_timesteps(sampling.num_inference_steps)
        self.num_timesteps = len(scheduler.timesteps)
        self._interrupt = False

        try:
            # 2. Encode the reference: its embedding, its latent, its reference features
            embedding = self.encode_image(reference_image)  # 1 1 e
            features = self.reference_features(reference_image, embedding, width, height)

            # 3. Encode the poses
            poses = self.pose_features(pose_images[:num_frames], width, height)
            self._release_large_parts("image_encoder", "vae_encoder", "reference_unet")

            # 4. Denoise what begins as noise, which is not kept
            with self._watching(callback_on_step_end) as on_step_end, self._spreading() as spread:
                latents = denoise(
                    self.denoiser(embedding, features, poses, sampling.deep_cache_interval > 1),
                    self.prepare_latents(num_frames, width, height, generator)
                    * scheduler.init_noise_sigma,
                    scheduler,
                    windows,
                    sampling.guidance_scale,
                    generator,
                    on_step_end,
                    sampling.guidance_interval,
                    sampling.cache_interval,
                    sampling.deep_cache_interval,
                    spread,
                )

            # 5. Decode
            return AnimateAnyoneOutput(frames=self.decode(latents, output_type))
        finally:
            self._interrupt = False

    def interrupt(self) -> None:
        """Stop the current run before its next network call; it raises `Interrupted`. Safe to call
        from a callback or from another thread."""
        self._interrupt = True

    def resolve_size(self, pose_images, width=None, height=None) -> tuple[int, int]:
        """The (width, height) that a call with these arguments works at, see `__call__`."""
        check_images("pose_images", pose_images)
        factor = self.vae_scale_factor
        for name, size in (("width", width), ("height", height)):
            if size is not None:
                check_multiple(name, size, factor)
        if width is None and height is None:
            width, height = self.generation_config.width, self.generation_config.height
        own_width, own_height = pose_images[0].size
        if width is None:
            width = own_width if height is None else height * own_width / own_height
            width = max(1, round(width / factor)) * factor
        if height is None:
            height = max(1, round(width * own_height / own_width / factor)) * factor
        return width, height

    def encode_image(self, image: Image.Image) -> np.ndarray:
        """CLIP embedding of a picture, (1, 1, e)."""
        pixels = clip_pixels(image, self.image_size)[None]  # 1 3 H W
        return self._run("image_encoder", pixel_values=pixels)["image_embeds"][:, None].copy()

    def reference_features(self, image, embedding, width, height) -> dict[str, np.ndarray]:
        """What enters each self-attention of the reference UNet: {block name: (1, l, d)}."""
        pixels = 2 * picture_pixels(image, width, height) - 1  # 3 H W
        latent = self._run("vae_encoder", image=pixels[None])["latent"]
        features = self._run(
            "reference_unet",
            sample=latent * np.float32(self.vae_scaling_factor),
            timestep=np.zeros(1, np.float32),
            encoder_hidden_states=embedding,
        )
        return {name: feature.copy() for name, feature in features.items()}

    def pose_features(self, pose_images, width, height) -> Callable[[Sequence[int]], np.ndarray]:
        """A function from frame indices to their pose features (1, d, f, h, w).

        The features of a short video are computed at once and kept. Those of a long one would take
        eighty times the memory of its latents: they are computed for each window when it is its
        turn, which takes a two-hundredth of the time of a full step.
        """
        factor, width_of_features = self.vae_scale_factor, self.unet_config.block_out_channels[0]
        size = 4 * width_of_features * len(pose_images) * (height // factor) * (width // factor)
        if size > KEEP_BELOW_BYTES:
            last = threading.local()  # both halves of guidance ask for the same window

            def of_window(frames):
                if getattr(last, "frames", None) != frames:
                    images = [pose_images[index] for index in frames]
                    last.frames, last.features = frames, self.encode_poses(images, width, height)
                return last.features

            return of_window
        bar = tqdm(pose_images, desc="Encoding poses", unit="frame")
        features = self.encode_poses(bar, width, height)
        whole = list(range(len(pose_images)))
        return lambda frames: features if frames == whole else features[:, :, frames]

    def encode_poses(self, pose_images, width, height) -> np.ndarray:
        """Pose features (1, d, f, h, w), one frame at a time: no frame needs another here."""
        size = height // self.vae_scale_factor, width // self.vae_scale_factor
        shape = 1, self.unet_config.block_out_channels[0], len(pose_images), *size
        features = np.empty(shape, np.float32)
        for index, pose in enumerate(pose_images):
            pixels = picture_pixels(pose, width, height, background="black")
            with self._one_pose:  # windows on several devices share the pose guider
                outputs = self._run("pose_guider", pose_images=pixels[None, :, None])  # 1 3 1 H W
                features[:, :, index] = outputs["pose_features"][:, :, 0]
        return features

    def prepare_latents(self, num_frames, width, height, generator) -> torch.Tensor:
        """Initial noise (1, c, f, h, w)."""
        factor = self.vae_scale_factor
        shape = 1, self.unet_config.in_channels, num_frames, height // factor, width // factor
        return randn_tensor(shape, generator=generator)

    def decode(self, latents: torch.Tensor, output_type: str = "pil"):
        """Latents (1, c, f, h, w) → frames, see `AnimateAnyoneOutput`."""
        if output_type == "latent":
            return latents
        if output_type == "pil":
            return [list(self.decode_frames(latents))]
        video = np.stack(list(self._pictures(latents)))[None]  # 1 f H W 3
        return video if output_type == "np" else torch.from_numpy(video).permute(0, 1, 4, 2, 3)

    def decode_frames(self, latents: torch.Tensor) -> Iterator[Image.Image]:
        """Latents (1, c, f, h, w) → images, each decoded when it is asked for: `write_video` takes
        them as they come, so that a long video is never in memory as a whole."""
        for picture in self._pictures(latents):
            yield Image.fromarray((255 * picture).round().astype(np.uint8))

    def _pictures(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        """float32 (H, W, 3) in [0, 1], frame by frame."""
        for index in tqdm(range(latents.shape[2]), desc="Decoding", unit="frame"):
            latent = latents[:, :, index] / self.vae_scaling_factor
            picture = self._run("vae_decoder", latent=latent.numpy())["image"][0]  # 3 H W
            yield np.clip(picture / 2 + 0.5, 0, 1).transpose(1, 2, 0)

    def denoiser(self, embedding, features, pose_features, keep_deep_features: bool = False):
        """The denoising UNet as a `denoise.Denoiser`, for one embedding (1, 1, e), its reference
        features, and a function from frames to pose features (1, d, f, h, w). The last layer can only
        run alone where deep features are kept."""
        no_embedding = np.zeros_like(embedding)
        no_features = {name: value[:, :0] for name, value in features.items()}
        halves = {True: (embedding, features), False: (no_embedding, no_features)}
        deep_features = {}

        def predict(sample, timestep, frames, conditional, shallow=False):
            embedding, features = halves[conditional]
            window, part = (*frames, conditional), "denoising_unet"
            inputs = {
                "sample": sample.numpy(),
                "timestep": np.array([timestep], np.float32),
                "encoder_hidden_states": embedding,
                "pose_features": pose_features(frames),
                **features,
            }
            if shallow:
                part, inputs[DEEP_FEATURES] = "last_layer", deep_features[window]
                inputs = {name: inputs[name] for name in self.parts[part].inputs}
            outputs = self._run(part, **inputs)
            if keep_deep_features and not shallow:
                deep_features[window] = outputs[DEEP_FEATURES].copy()
            return torch.from_numpy(outputs["noise_pred"].copy())

        return predict

    @contextmanager
    def _watching(self, callback) -> Iterator[Callable]:
        """A progress bar, and what `denoise` calls after each step: it moves the bar, and hands the
        latents to the caller's callback and back."""
        with tqdm(total=self.num_timesteps, desc="Denoising", unit="step") as bar:

            def on_step_end(step, timestep, latents):
                bar.update()
                if callback is None:
                    return latents
                answer = callback(self, step, timestep, {"latents": latents}) or {}
                changed = answer.get("latents", latents)
                check_same_form("latents of callback_on_step_end", changed, latents)
                return changed

            yield on_step_end

    @contextmanager
    def _spreading(self) -> Iterator[Callable]:
        """What `denoise` calls for all windows of a step: `map`, or that of as many threads as
        there are devices; when the run is stopped, windows that wait for a device are dropped."""
        if self._workers == 1:
            yield map
            return
        executor = ThreadPoolExecutor(self._workers)
        try:
            yield executor.map
        except BaseException:
            self._interrupt = True  # windows under way end before their next network call
            raise
        finally:
            executor.shutdown(cancel_futures=True)

    def _release_large_parts(self, *names: str) -> None:
        for name in names:
            if self.parts[name].weight_bytes > KEEP_BELOW_BYTES:
                self.parts[name].release()

    def _run(self, part: str, **inputs) -> dict[str, np.ndarray]:
        if self._interrupt:
            raise Interrupted(f"stopped before {part}")
        return self.parts[part](**inputs)
