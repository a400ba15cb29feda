"""Reference image + pose frames → animated frames, from IR alone.

Axes: c channels, f frames, h w latent rows and columns, e width of the image embedding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..base.checks import check_choice, check_context, check_frames, check_images, check_type
from ..base.config import GenerationConfig, ModelConfig
from ..base.layout import CONTEXT_FRAMES, CONTEXT_OVERLAP, DEEP_FEATURES, FITS
from ..base.manifest import read_manifest
from ..base.verify import Verification
from ..media.images import fit_image
from ..runtime import OVPart, OVReplicas
from .callbacks import watching
from .decode import OUTPUT_TYPES, AnimateAnyoneOutput, Decoder
from .denoise import denoise
from .denoiser import OVDenoiser
from .devices import open_parts, release_large
from .encode import Encoder, PoseFeatures
from .noise import initial_noise, resolve_noise_type
from .presets import build_scheduler, resolve_sampling
from .size import resolve_size
from .turns import Turns
from .windows import mapping, plan_windows


class OVAnimateAnyonePipeline:
    """AnimateAnyone (arXiv 2311.17117) on six OpenVINO networks.

    Create it with `from_pretrained`. `scheduler` may be replaced by any diffusers scheduler:
    `pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)`.
    `parts["last_layer"]` is the end of `parts["denoising_unet"]`, for steps that run it alone.
    `generation_config` holds recommended steps, guidance and size; `num_timesteps` those of a run.
    """

    def __init__(
        self,
        parts: Mapping[str, OVPart | OVReplicas],
        scheduler,
        config: ModelConfig,
        generation_config: GenerationConfig,
        verification: Verification | None = None,
    ):
        self.parts: dict[str, Any] = dict(parts) | {
            "last_layer": parts["denoising_unet"].tail_from(DEEP_FEATURES)
        }
        self.scheduler = scheduler
        self.generation_config = generation_config
        self.config = config
        self.num_timesteps = 0
        self._turns, self._verification = Turns(), verification
        self.model_dir = verification.model_dir if verification else None
        self._encoder = Encoder(self._run, config)
        self._decoder = Decoder(self._run, config.vae_scaling_factor)
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
                properties for that part alone. Where none asks for a precision, CPUs round to 8
                bits what they multiply with 8-bit weights, in groups as wide as the UNets' first
                level; `runtime.precision_config("bf16")` turns that off.

        Raises:
            FileNotFoundError, ValueError: no model folder, an unfinished one, or a device or part
                that does not exist.
            TypeError: device or ov_config are of another kind.
        """
        model_dir = Path(model_dir)
        manifest = read_manifest(model_dir)
        config = ModelConfig.from_dict(manifest["config"])
        verification = Verification(model_dir, manifest)
        parts = open_parts(model_dir, config.unet, device, ov_config or {})
        scheduler = build_scheduler(manifest["scheduler"])
        generation_config = GenerationConfig.from_dict(manifest["generation"])
        return cls(parts, scheduler, config, generation_config, verification)

    def __call__(
        self,
        reference_image: Image.Image,
        pose_images: Sequence[Image.Image],
        *,
        width: int | None = None,
        height: int | None = None,
        fit: str = "crop",
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable | None = None,
        context_schedule: str = "open",
        context_frames: int = CONTEXT_FRAMES,
        context_overlap: int = CONTEXT_OVERLAP,
        context_weighting: str | None = None,
        noise_type: str | None = None,
        preset: str | None = None,
        scheduler=None,
        guidance_interval: tuple[float, float] | None = None,
        cache_interval: int | None = None,
        deep_cache_interval: int | None = None,
        wait: bool = True,
    ) -> AnimateAnyoneOutput:
        """Animate a character.

        Args:
            reference_image: who is to move; any size and mode.
            pose_images: pose maps, one per frame, as `animate_anyone.pose` draws them.
            width, height: of the result in pixels, multiples of 8. If one is None it follows from
                the pose maps' aspect, if both are, it is the model's own size or that of the pose
                maps, rounded to the nearest multiple.
            fit: how pictures of another shape become (width, height), see `fit_image`: "crop",
                "pad", or "stretch", as the reference implementation does it.
            num_frames: how many pose maps to use, from the first on; None for all.
            num_inference_steps: denoising steps; None: the preset's share of those that the model
                recommends, 30 for the published weights.
            guidance_scale: strength of classifier-free guidance; 1 or less runs the conditional
                half alone, in half the time. None: as the model recommends, 3.5 for the
                published weights.
            generator: CPU random generator for the initial noise.
            output_type: "pil", "np", "pt" or "latent", see `AnimateAnyoneOutput`.
            callback_on_step_end: called as (pipeline, step, timestep, values) after each step; of
                "latents" and "pred_original_sample", the latents as they would be in the end. The
                "latents" in the dictionary that it returns are used from there on.
            context_schedule: how windows cover a long video, see `context_schedule`: "open", "loop"
                for one that is to loop, or "uniform", the reference's.
            context_frames: longest window of frames that pass through the network together.
            context_overlap: frames that neighbouring windows share at least.
            context_weighting: how windows count where they overlap: "flat", "ramp" or "triangular".
                None: "flat" for "uniform", "ramp" for the others.
            noise_type: how noise goes on behind the first window, see `initial_noise`: "growing",
                "shuffled" or "whole". None: "whole" for "uniform", "growing" for the others.
            preset: "quality", "balanced" or "fast", see `presets.PRESETS`: decides about what
                follows where it is not given. None is "quality".
            scheduler: of diffusers, which is copied; None: the preset's, or `self.scheduler`.
            guidance_interval, cache_interval, deep_cache_interval: steps that take less time, see
                `Sampling`. At the published size `deep_cache_interval` keeps 4.6 MB per frame of
                448×512, twice that with guidance.
            wait: while another thread uses the pipeline, True waits for its end, False raises.

        Raises:
            ValueError, TypeError: an argument is out of range; before any network runs.
            ValueError: the weights on the disk are no longer those that were converted.
            FloatingPointError: a network or the scheduler gave values that are not finite.
            Interrupted: `interrupt` was called during the run.
            Busy: another run is under way and `wait` is False.
        """
        # 1. Check and resolve the arguments
        size = self.resolve_size(pose_images, width, height)
        num_frames = len(pose_images) if num_frames is None else num_frames
        check_images("reference_image", [reference_image])
        check_frames(num_frames, len(pose_images))
        check_choice("output_type", output_type, OUTPUT_TYPES)
        check_choice("fit", fit, FITS)
        check_type("generator", generator, torch.Generator | None)
        check_type("callback_on_step_end", callback_on_step_end, Callable | None)
        check_type("wait", wait, bool)
        check_context(context_frames, context_overlap, self.config.unet.motion_max_frames)
        context = context_frames, context_overlap
        windows = plan_windows(context_schedule, num_frames, *context, context_weighting)
        noise = resolve_noise_type(noise_type, context_schedule), *context
        with self._turns.whole(wait):
            sampling = resolve_sampling(
                preset,
                self.generation_config,
                self._turns.own(self.scheduler),
                scheduler=scheduler,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                guidance_interval=guidance_interval,
                cache_interval=cache_interval,
                deep_cache_interval=deep_cache_interval,
            )
            self.num_timesteps = len(sampling.scheduler.timesteps)

            # 2. Encode the reference, 3. encode the poses
            deep, poses = sampling.deep_cache_interval > 1, pose_images[:num_frames]
            denoiser = self.prepare(reference_image, poses, size, fit, keep_deep_features=deep)
            release_large(self.parts, "image_encoder", "vae_encoder", "reference_unet")

            # 4. Denoise what begins as noise, which is not kept
            with (
                watching(self, callback_on_step_end) as on_step_end,
                mapping(self._workers, self._turns.stop_current) as map_windows,
            ):
                scale = sampling.scheduler.init_noise_sigma
                latents = denoise(
                    denoiser,
                    scale * self.prepare_latents(num_frames, *size, generator, *noise),
                    sampling,
                    windows,
                    generator=generator,
                    on_step_end=on_step_end,
                    map_windows=map_windows,
                )

            # 5. Decode
            return AnimateAnyoneOutput(frames=self.decode(latents, output_type))

    def interrupt(self, thread: int | None = None) -> None:
        """Stop what is under way, or only what a thread of this identifier began, before its next
        network call; it raises `Interrupted`. Calls that wait or come later are not meant.
        """
        self._turns.interrupt(thread)

    def resolve_size(self, pose_images, width=None, height=None) -> tuple[int, int]:
        """The (width, height) that a call with these arguments works at, see `__call__`."""
        check_images("pose_images", pose_images)
        shape = pose_images[0].size
        return resolve_size(self.config, self.generation_config, shape, width, height)

    def prepare(
        self,
        reference_image: Image.Image,
        pose_images: Sequence[Image.Image],
        size: tuple[int, int],
        fit: str = "crop",
        *,
        keep_deep_features: bool = False,
    ) -> OVDenoiser:
        """Encode all that the denoising UNet is given in every step.

        Args:
            reference_image, pose_images, fit: see `__call__`.
            size: (width, height) in pixels, multiples of 8.
            keep_deep_features: for steps that run the last layer alone.

        Returns:
            A `denoise.Denoiser` for these frames.
        """
        with self._turns.whole():
            if fit != "stretch":  # then the image encoder sees what the others see
                reference_image = fit_image(reference_image, *size, fit)
            embedding = self.encode_image(reference_image)  # 1 1 e
            features = self.reference_features(reference_image, embedding, *size, fit)
            poses = self.pose_features(pose_images, *size, fit)
        inputs = self.parts["last_layer"].inputs
        return OVDenoiser(self._run, inputs, embedding, features, poses, keep_deep_features)

    def encode_image(self, image: Image.Image) -> np.ndarray:
        """CLIP embedding of a picture, (1, 1, e)."""
        with self._turns.whole():
            return self._encoder.embedding(image)

    def reference_features(self, image, embedding, width, height, fit="crop") -> dict:
        """What enters each self-attention of the reference UNet: {block name: (1, l, d)}."""
        with self._turns.whole():
            return self._encoder.reference_features(image, embedding, width, height, fit)

    def pose_features(self, pose_images, width, height, fit="crop") -> PoseFeatures:
        """A function from frame indices to their pose features (1, d, f, h, w)."""
        with self._turns.whole():
            return self._encoder.pose_features(pose_images, width, height, fit)

    def prepare_latents(self, num_frames, width, height, generator, *noise) -> torch.Tensor:
        """Initial noise (1, c, f, h, w); `noise` as `initial_noise` takes it."""
        factor = self.config.vae_scale_factor
        shape = 1, self.config.unet.in_channels, num_frames, height // factor, width // factor
        return initial_noise(shape, *noise, generator=generator)

    def decode(self, latents: torch.Tensor, output_type: str = "pil"):
        """Latents (1, c, f, h, w) → frames, see `AnimateAnyoneOutput`."""
        with self._turns.whole():
            return self._decoder(latents, output_type)

    def decode_frames(self, latents: torch.Tensor) -> Iterator[Image.Image]:
        """Latents (1, c, f, h, w) → images, each decoded when it is asked for: `write_video` takes
        them as they come, so that a long video is never in memory as a whole.
        """
        pictures = self._decoder.frames(latents)
        with self._turns.begin() as activity:
            while True:
                with self._turns.turn(activity):  # others may have theirs between two frames
                    picture = next(pictures, None)
                if picture is None:
                    return
                yield picture

    def _run(self, part: str, **inputs) -> dict[str, np.ndarray]:
        """Outputs of a part, {port: array}, as soon as its weights are known to be whole."""
        self._turns.check(part)
        try:
            return self.parts[part](**inputs)
        finally:  # damage explains errors, too
            if self._verification is not None:
                self._verification.wait(part)
