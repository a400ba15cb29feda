"""What the small model learns from: pictures and pose maps, rendered once and kept on disk.

Axes: n characters, p pictures of each, f frames, c latent channels, h w latent rows and columns,
H W pixels, s pixels of the image encoder.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from animate_anyone.media.pixels import clip_pixels
from animate_anyone.pose import Pose
from demo_model.drawing.character import Character, random_character
from demo_model.drawing.motion import TRAIN_MOTIONS
from demo_model.drawing.render import SIZE, pose_map, render, render_clip
from demo_model.drawing.skeleton import at_ease, pose_at

LOOK_SECONDS = 60.0  # a moment of a motion is drawn from this span


class Stills:
    """Characters standing at ease, and at random moments of random training motions.

    Args:
        folder: where they are kept; rendered when first asked for.
        seeds: of the characters.
        per_character: pictures of each; the first, at ease, is its reference.
    """

    def __init__(self, folder: Path, seeds: range, per_character: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"characters_{seeds.start}_{seeds.stop}_{per_character}.npy"
        if not self.path.exists():
            self._render(seeds, per_character)
        self.pictures, self.maps = np.load(self.path, mmap_mode="r")  # n p H W 3, uint8

    def latents(self, vae) -> np.ndarray:
        """Scaled latent means (n, p, c, h, w), float16; kept on disk for this very autoencoder."""
        path = self.path.with_name(f"{self.path.stem}_latents_{_fingerprint(vae)}.npy")
        if path.exists():
            return np.load(path)
        flat = self.pictures.reshape(-1, *self.pictures.shape[2:])
        batches = []
        for start in tqdm(range(0, len(flat), 64), desc="Encoding pictures", unit="batch"):
            with torch.inference_mode():
                mean = vae.encode(2 * to_tensor(flat[start : start + 64]) - 1).latent_dist.mean
            batches.append((mean * vae.config.scaling_factor).half().numpy())
        latents = np.concatenate(batches)
        latents = latents.reshape(*self.pictures.shape[:2], *latents.shape[1:])
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, latents)
        os.replace(partial, path)
        return latents

    def pose_batch(self, rows: np.ndarray) -> torch.Tensor:
        """Pose maps of all pictures but the reference, (b, 3, f, H, W) in [0, 1]."""
        maps = torch.from_numpy(self.maps[rows, 1:])  # b f H W 3
        return maps.permute(0, 4, 1, 2, 3).float() / 255

    def clip_batch(self, rows: np.ndarray, size: int) -> torch.Tensor:
        """References as the image encoder sees them, (b, 3, s, s)."""
        references = [Image.fromarray(self.pictures[row, 0]) for row in rows]
        return torch.from_numpy(np.stack([clip_pixels(image, size) for image in references]))

    def _render(self, seeds: range, per_character: int) -> None:
        shape = (2, len(seeds), per_character, SIZE, SIZE, 3)
        partial = self.path.with_suffix(".partial")
        both = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        for row, seed in enumerate(tqdm(seeds, desc="Rendering", unit="character")):
            character = random_character(seed)
            for column, pose in enumerate(still_poses(character, per_character)):
                both[0, row, column] = render(character, pose, SIZE, SIZE)
                both[1, row, column] = pose_map(pose, SIZE, SIZE)
        both.flush()
        os.replace(partial, self.path)


def _fingerprint(vae) -> str:
    digest = hashlib.sha256(str(vae.config.scaling_factor).encode())
    for value in vae.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def still_poses(character: Character, count: int) -> list[Pose]:
    """A character at ease, then at random moments of random training motions."""
    rng, names = np.random.default_rng([character.seed, 1]), list(TRAIN_MOTIONS)
    draws = [(names[rng.integers(len(names))], rng.uniform(0, LOOK_SECONDS)) for _ in range(count)]
    # The pose at ease takes the place of the first moment; the others stay as training began.
    return [at_ease(character), *(pose_at(character, motion, at) for motion, at in draws[1:])]


@dataclass
class Clip:
    """One character moving."""

    latents: torch.Tensor  # 1 c f h w, scaled
    poses: torch.Tensor  # 1 3 f H W in [0, 1]
    reference: torch.Tensor  # 1 c h w, scaled
    pixels: torch.Tensor  # 1 3 s s


def clip_of(seed: int, frames: int, rng: torch.Generator, vae, image_size: int) -> Clip:
    """A training character in a random training motion at a random moment and rate, with a
    reference that stands at ease.
    """
    names = list(TRAIN_MOTIONS)
    which, when, rate = torch.rand(3, generator=rng).tolist()
    character, motion = random_character(seed), names[int(which * len(names))]
    start, fps = LOOK_SECONDS * when, 8 + 8 * rate
    pictures, maps = render_clip(character, motion, frames, fps, SIZE, start)
    reference = render(character, at_ease(character), SIZE, SIZE)
    with torch.no_grad():
        images = 2 * to_tensor(np.concatenate([pictures, reference[None]])) - 1
        latents = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
    pixels = torch.from_numpy(clip_pixels(Image.fromarray(reference), image_size))
    # Contiguous: in torch 2.13 the backward pass of a frozen GroupNorm crashes on other layouts.
    return Clip(
        latents[:-1].transpose(0, 1)[None].contiguous(),
        to_tensor(maps).transpose(0, 1)[None].contiguous(),
        latents[-1:],
        pixels[None],
    )


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (b, H, W, 3) → float32 (b, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255
