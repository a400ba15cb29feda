"""Train the small model, stage by stage, on a CPU.

    python -m demo_model.training.train vae
    python -m demo_model.training.train images --minutes 60
    python -m demo_model.training.train motion

Every stage continues from its checkpoint below build/training, or, on a new machine, from the
shipped weights. At the end of a run it writes its averaged weights to demo_model/pretrained_weights
in float16, in the file layout that `convert` reads.

On Linux, glibc gives large blocks back to the system after every step and asks for them anew, which
can take more time than the training itself; MALLOC_MMAP_THRESHOLD_=4294967296 and
MALLOC_TRIM_THRESHOLD_=8589934592 in the environment let it keep them.
"""

import argparse
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from animate_anyone.base import layout
from animate_anyone.base.config import DEFAULT_SCHEDULER
from animate_anyone.base.files import read_json
from animate_anyone.networks import build_vae
from demo_model.drawing.character import HELD_OUT_SEEDS
from demo_model.files import HOME, WEIGHTS, read, steps_done, write
from demo_model.training.data import Stills, clip_of, to_tensor
from demo_model.training.networks import (
    GENERATION,
    IMAGE_ENCODER,
    UNET,
    VAE,
    ImageModel,
    MotionModel,
    VelocityLoss,
)
from demo_model.training.trainer import Trainer, batch_rng, begin_as_identity

logger = logging.getLogger(__name__)

BUILD = Path("build/training")
LOGS = HOME / "logs"


@dataclass(frozen=True)
class Settings:
    """Length and size of a stage's training; `characters` are seeds."""

    steps: int
    batch: int
    learning_rate: float
    decay: float = 0.999  # of the moving average
    characters: range = range(3000)
    pictures: int = 6  # of each character; the first is its reference
    frames: tuple[int, int] = (12, 24)  # shortest and longest clip
    build: Path = BUILD
    weights: Path = WEIGHTS
    logs: Path = LOGS


SETTINGS = {
    "vae": Settings(steps=11000, batch=16, learning_rate=0.02, decay=0.99),
    "images": Settings(steps=8000, batch=6, learning_rate=0.01),
    "motion": Settings(steps=2000, batch=1, learning_rate=0.005, decay=0.99),
}
HALF_SIZE_UNTIL = 0.02  # share of the steps: learning colours first gets off the plateau
CROPS_UNTIL = 0.86  # then quarter pictures: four times the steps in the same time
KL_WEIGHT = 1e-6  # Latent Diffusion (Rombach et al. 2022, appendix G): just enough to stay centred
DROP_SHARE = 0.1  # of the steps without reference and embedding, for guidance (Ho & Salimans 2022)


def train_vae(settings: Settings, minutes: float) -> None:
    """The autoencoder alone: mean squared error and a trace of KL divergence."""
    stills = Stills(settings.build / "data", settings.characters, settings.pictures)
    pictures = stills.pictures.reshape(-1, *stills.pictures.shape[2:])  # (n p) H W 3
    vae = build_vae(VAE)
    begin_as_identity(vae)
    trainer = _trainer("vae", vae, settings, {"": layout.VAE})

    def losses(step: int) -> dict[str, torch.Tensor]:
        rng = batch_rng(0, step)
        rows = torch.randint(len(pictures), (settings.batch,), generator=rng).sort().values
        images = 2 * to_tensor(pictures[rows.numpy()]) - 1
        if torch.rand((), generator=rng) < 0.5:
            images = images.flip(-1)
        half = images.shape[-1] // 2
        if step < HALF_SIZE_UNTIL * settings.steps:
            images = F.interpolate(images, scale_factor=0.5, mode="area")
        elif step < CROPS_UNTIL * settings.steps:
            top, left = torch.randint(half + 1, (2,), generator=rng).tolist()
            images = images[..., top : top + half, left : left + half]
        posterior = vae.encode(images).latent_dist
        error = F.mse_loss(vae.decode(posterior.sample(rng)).sample, images)
        kl = posterior.kl().mean() / images[0].numel()
        return {"loss": error + KL_WEIGHT * kl, "mse": error, "kl": kl}

    trainer.run(losses, minutes)
    average = trainer.average
    config = VAE | {"scaling_factor": round(1 / latent_deviation(average, pictures), 4)}
    write(settings.weights, layout.VAE, average.state_dict(), trainer.step)
    write(settings.weights, layout.VAE_CONFIG, config)
    logger.info("step %d: %.2f dB on held-out pictures", trainer.step, held_out_psnr(average))


def train_images(settings: Settings, minutes: float) -> None:
    """Reference UNet, denoising UNet without motion modules, pose guider and image encoder together
    (AnimateAnyone, section 3.3, first stage).
    """
    stills = Stills(settings.build / "data", settings.characters, settings.pictures)
    latents = stills.latents(_shipped_vae(settings))  # n p c h w
    model = ImageModel()
    begin_as_identity(model)
    stems = {
        "image_encoder.clip.": layout.IMAGE_ENCODER,
        "reference_unet.": layout.REFERENCE_UNET,
        "denoising_unet.": layout.DENOISING_UNET,
        "pose_guider.": layout.POSE_GUIDER,
    }
    trainer = _trainer("images", model, settings, stems)
    velocity = VelocityLoss()

    def losses(step: int) -> dict[str, torch.Tensor]:
        rng = batch_rng(1, step)
        rows = torch.randperm(len(latents), generator=rng)[: settings.batch].sort().values.numpy()
        reference = torch.from_numpy(latents[rows, 0]).float()  # b c h w
        target = torch.from_numpy(latents[rows, 1:]).float().transpose(1, 2)  # b c f h w
        poses = stills.pose_batch(rows)  # b 3 f H W
        pixels = stills.clip_batch(rows, model.image_size)  # b 3 s s
        dropped = bool(torch.rand((), generator=rng) < DROP_SHARE)
        count = target.shape[0] * target.shape[2]

        def denoiser(noisy, timesteps):
            return model(noisy, timesteps, reference, pixels, poses, dropped)

        return {"loss": velocity(denoiser, target, count, rng)}

    trainer.run(losses, minutes)
    for prefix, stem in stems.items():
        write(settings.weights, stem, _part(trainer.average, prefix), trainer.step)
    write(settings.weights, layout.IMAGE_ENCODER_CONFIG, IMAGE_ENCODER)
    write(settings.weights, layout.SD_UNET_CONFIG, UNET)
    write(settings.weights, layout.SCHEDULER_CONFIG, DEFAULT_SCHEDULER)
    write(settings.weights, layout.GENERATION_CONFIG, GENERATION)


def train_motion(settings: Settings, minutes: float) -> None:
    """The motion modules alone, on clips; all else stays as the images taught it
    (AnimateAnyone, section 3.3, second stage).
    """
    vae = _shipped_vae(settings)
    model = MotionModel(read(settings.weights))
    stems = {"denoising_unet.": layout.MOTION_MODULE}
    trainer = _trainer("motion", model, settings, stems)
    velocity = VelocityLoss()

    def losses(step: int) -> dict[str, torch.Tensor]:
        rng = batch_rng(2, step)
        seed = settings.characters[int(torch.randint(len(settings.characters), (), generator=rng))]
        shortest, longest = settings.frames
        frames = int(torch.randint(shortest, longest + 1, (), generator=rng))
        clip = clip_of(seed, frames, rng, vae, model.image_size)
        dropped = bool(torch.rand((), generator=rng) < DROP_SHARE)

        def denoiser(noisy, timesteps):
            return model(noisy, timesteps, clip.reference, clip.pixels, clip.poses, dropped)

        return {"loss": velocity(denoiser, clip.latents, 1, rng)}

    trainer.run(losses, minutes)
    state = {k: v for k, v in _part(trainer.average, "denoising_unet.").items() if "motion_m" in k}
    write(settings.weights, layout.MOTION_MODULE, state, trainer.step)


STAGES = {"vae": train_vae, "images": train_images, "motion": train_motion}


@torch.no_grad()
def latent_deviation(vae, pictures, count: int = 256) -> float:
    """Standard deviation of the latent means over some pictures."""
    rows = torch.randperm(len(pictures), generator=batch_rng(0, 0))[:count].sort().values
    images = 2 * to_tensor(pictures[rows.numpy()]) - 1
    return torch.cat([vae.encode(x).latent_dist.mean for x in images.split(32)]).std().item()


@torch.no_grad()
def held_out_psnr(vae, count: int = 64) -> float:
    """Mean PSNR in dB of encoding and decoding pictures of characters never trained on."""
    seeds = range(HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.start + count)
    images = to_tensor(Stills(BUILD / "data", seeds, 1).pictures[:, 0])
    decoded = [vae.decode(vae.encode(2 * x - 1).latent_dist.mean).sample for x in images.split(32)]
    errors = ((torch.cat(decoded) / 2 + 0.5).clamp(0, 1) - images).square().mean(dim=(1, 2, 3))
    return (-10 * errors.log10()).mean().item()


def _trainer(name: str, module, settings: Settings, stems: dict[str, str]) -> Trainer:
    """A trainer that starts from the shipped weights when it has no checkpoint of its own."""
    torch.manual_seed(0)
    folder, log = settings.build / name, settings.logs / f"{name}.csv"
    trainer = Trainer(module, folder, log, settings.steps, settings.learning_rate, settings.decay)
    done = steps_done(settings.weights, next(iter(stems.values())))
    if trainer.step == 0 and done:
        shipped = read(settings.weights)
        state = {
            prefix + key: v for prefix, stem in stems.items() for key, v in shipped[stem].items()
        }
        trainer.start_from(state, done)
    return trainer


def _shipped_vae(settings: Settings):
    config = read_json(settings.weights / layout.VAE_CONFIG)
    vae = build_vae(config)
    vae.load_state_dict(read(settings.weights)[layout.VAE])
    return vae.eval().requires_grad_(False)


def _part(module: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    state = module.state_dict()
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--steps", type=int, help="another length of the whole training")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = SETTINGS[options.stage]
    if options.steps:
        settings = replace(settings, steps=options.steps)
    STAGES[options.stage](settings, options.minutes)


if __name__ == "__main__":
    main()
