"""How well the small model animates, measured through the OpenVINO pipeline.

    python -m demo_model.measuring.evaluate

Held-out characters perform held-out motions; the truth is drawn for comparison. Beside the model
stand two baselines, and the autoencoder alone as the best that the model could reach. Writes the
table and a contact sheet (reference | pose | result | truth) below demo_model/results.
"""

import argparse
import csv
import logging
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from animate_anyone.base.tables import table
from animate_anyone.convert.convert import convert_models
from animate_anyone.pose import Pose
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from demo_model.drawing.character import random_character
from demo_model.drawing.performance import FRAMES, Performance
from demo_model.drawing.render import SIZE, render
from demo_model.files import HOME, MODELS, WEIGHTS
from demo_model.measuring.measures import measure
from demo_model.training.data import still_poses

FOLDER = HOME / "results"
PEOPLE_SEARCHED = 300  # training characters among whose pictures the nearest pose is looked for
SHEET_FRAME = 14


class NearestPose:
    """A baseline that looks up: the training picture whose pose is nearest, whoever is on it."""

    def __init__(self, people: int = PEOPLE_SEARCHED, pictures: int = 6):
        characters = [random_character(seed) for seed in range(people)]
        self.known = [(c, pose) for c in characters for pose in still_poses(c, pictures)]
        self.bodies = np.stack([pose.body for _, pose in self.known])  # n 18 2

    def __call__(self, poses: list[Pose]) -> np.ndarray:
        gaps = [np.linalg.norm(self.bodies - pose.body, axis=-1).mean(-1) for pose in poses]
        return np.stack([render(*self.known[gap.argmin()], SIZE, SIZE) for gap in gaps])


def through_vae(pipe: OVAnimateAnyonePipeline, pictures: np.ndarray) -> np.ndarray:
    """The truth encoded and decoded: what the autoencoder alone leaves of it."""
    encoder, decoder = pipe.parts["vae_encoder"], pipe.parts["vae_decoder"]
    decoded = []
    for picture in pictures:
        pixels = picture.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
        image = decoder(latent=encoder(image=pixels)["latent"].copy())["image"][0]
        decoded.append(np.clip(127.5 * (image + 1), 0, 255).round().transpose(1, 2, 0))
    return np.stack(decoded).astype(np.uint8)


def contact_sheet(rows: list[tuple[np.ndarray, ...]]) -> Image.Image:
    """Rows of equally large pictures, in two columns of rows."""
    pairs = [np.concatenate(row, axis=1) for row in rows]
    half = (len(pairs) + 1) // 2
    pairs += [np.full_like(pairs[0], 255)] * (2 * half - len(pairs))
    gap = np.full((pairs[0].shape[0], 12, 3), 255, np.uint8)
    lines = [np.concatenate([pairs[k], gap, pairs[k + half]], axis=1) for k in range(half)]
    return Image.fromarray(np.concatenate(lines))


def evaluate(pipe: OVAnimateAnyonePipeline, characters: int, folder: Path, **settings) -> dict:
    """Measure, write `measures.csv` and `contact_sheet.png`; returns {who: {measure: mean}}."""
    nearest = NearestPose()
    scores, rows = [], []
    for index in tqdm(range(characters), desc="Evaluating", unit="character"):
        show = Performance.held_out(index)
        result = show.animate(pipe, **settings)
        answers = {
            "model": result,
            "autoencoder alone": through_vae(pipe, show.truth),
            "reference repeated": np.repeat(show.reference[None], FRAMES, axis=0),
            "nearest training pose": nearest(show.poses),
        }
        scores += [{"who": who, **measure(show, pictures)} for who, pictures in answers.items()]
        pose = np.asarray(show.maps[SHEET_FRAME])
        rows.append((show.reference, pose, result[SHEET_FRAME], show.truth[SHEET_FRAME]))
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows).save(folder / "contact_sheet.png", optimize=True)
    names = list(scores[0])[1:]
    means = {
        who: {
            name: float(np.nanmean([s[name] for s in scores if s["who"] == who])) for name in names
        }
        for who in dict.fromkeys(score["who"] for score in scores)
    }
    with (folder / "measures.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["who", *names])
        writer.writerows([who, *(f"{m[name]:.4g}" for name in names)] for who, m in means.items())
    return means


def as_table(means: dict[str, dict[str, float]]) -> str:
    """Markdown: one row per measure, one column per answer."""

    def row(name: str) -> list[str]:
        digits = 3 if name == "SSIM" else 1
        return [name, *(f"{mean[name]:.{digits}f}" for mean in means.values())]

    return table(["", *means], map(row, next(iter(means.values()))))


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=16)
    parser.add_argument("--compression", choices=("none", "fp16", "int8"), default="int8")
    parser.add_argument("--steps", type=int, help="instead of the recommended number")
    parser.add_argument("--guidance", type=float, help="instead of the recommended strength")
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models = convert_models(WEIGHTS, MODELS, options.compression)
    pipe = OVAnimateAnyonePipeline.from_pretrained(models)
    settings = {"num_inference_steps": options.steps, "guidance_scale": options.guidance}
    print(as_table(evaluate(pipe, options.characters, options.output, **settings)))


if __name__ == "__main__":
    main()
