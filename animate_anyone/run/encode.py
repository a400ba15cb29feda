"""What goes in, as the denoising UNet wants it: embedding, reference features, pose features.

Axes: d width of a feature, e width of the embedding, f frames, H W pixels, h w latent rows and
columns, l = h*w tokens.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..base.config import ModelConfig
from ..media.pixels import clip_pixels, picture_pixels

# Pose features that would take more are not kept.
KEEP_BELOW_BYTES = 2**28

# Frame indices → pose features (1, d, f, h, w).
PoseFeatures = Callable[[Sequence[int]], np.ndarray]


class Encoder:
    """Image encoder, VAE encoder, reference UNet and pose guider.

    Args:
        run: calls a part by its name, `run(name, port=array, …) → {port: array}`.
        config: sizes of the model.
    """

    def __init__(self, run: Callable, config: ModelConfig):
        self.run, self.config = run, config

    def embedding(self, image: Image.Image) -> np.ndarray:
        """CLIP embedding of a picture, (1, 1, e)."""
        pixels = clip_pixels(image, self.config.image_size)[None]  # 1 3 H W
        return self.run("image_encoder", pixel_values=pixels)["image_embeds"][:, None]

    def reference_features(
        self, image: Image.Image, embedding: np.ndarray, width: int, height: int, fit: str = "crop"
    ) -> dict[str, np.ndarray]:
        """What enters each self-attention of the reference UNet: {block name: (1, l, d)}."""
        pixels = 2 * picture_pixels(image, width, height, fit=fit) - 1  # 3 H W
        latent = self.run("vae_encoder", image=pixels[None])["latent"]
        return self.run(
            "reference_unet",
            sample=latent * np.float32(self.config.vae_scaling_factor),
            timestep=np.zeros(1, np.float32),
            encoder_hidden_states=embedding,
        )

    def pose_features(
        self, images: Sequence[Image.Image], width: int, height: int, fit: str = "crop"
    ) -> PoseFeatures:
        """A function from frame indices to their pose features (1, d, f, h, w).

        The features of a short video are computed at once and kept. Those of a long one would take
        eighty times the memory of its latents: they are computed for each window when it is its
        turn, which takes a two-hundredth of the time of a full step.
        """
        if 4 * np.prod(self._shape(len(images), width, height)) > KEEP_BELOW_BYTES:
            return self._features_by_window(images, width, height, fit)
        bar = tqdm(images, desc="Encoding poses", unit="frame")
        features = self.poses(bar, width, height, fit)
        whole = list(range(len(images)))
        return lambda frames: features if frames == whole else features[:, :, frames]

    def _features_by_window(self, images, width: int, height: int, fit: str) -> PoseFeatures:
        last = threading.local()  # both halves of guidance ask for the same window

        def of_window(frames):
            if getattr(last, "frames", None) != frames:
                chosen = [images[index] for index in frames]
                last.frames, last.features = frames, self.poses(chosen, width, height, fit)
            return last.features

        return of_window

    def poses(self, images: Sequence[Image.Image], width: int, height: int, fit: str) -> np.ndarray:
        """Pose features (1, d, f, h, w), one frame at a time: no frame needs another here."""
        features = np.empty(self._shape(len(images), width, height), np.float32)
        for index, image in enumerate(images):
            pixels = picture_pixels(image, width, height, "black", fit)
            outputs = self.run("pose_guider", pose_images=pixels[None, :, None])  # 1 3 1 H W
            features[:, :, index] = outputs["pose_features"][:, :, 0]
        return features

    def _shape(self, frames: int, width: int, height: int) -> tuple[int, ...]:
        factor = self.config.vae_scale_factor
        return 1, self.config.unet.block_out_channels[0], frames, height // factor, width // factor
