"""A pose network for the small model's world, with the ports of DWPose's.

    python -m demo_model.training.pose_network --minutes 60

No detector of real people understands drawn ones. This one does: 133 points of COCO-WholeBody by
SimCC (Li et al. 2022, "SimCC: a Simple Coordinate Classification Perspective for Human Pose
Estimation"), small enough to be shipped. It learns from characters of many builds, drawn once and
kept on disk; of each step they are cut out anew. At the end of a run the averaged weights are
written as ONNX, in float16, where `convert` looks for DWPose.

Axes: b pictures, c channels, k points, h w cells, H W pixels.
"""

import argparse
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from einops import rearrange
from onnx import helper, numpy_helper
from torch import nn
from tqdm.auto import tqdm

from animate_anyone.base.files import replacing
from animate_anyone.base.pose_networks import DWPOSE
from animate_anyone.pose import Pose
from animate_anyone.pose.dwpose import BINS_PER_PIXEL, BODY, FACE, HANDS, HEIGHT, MEAN, STD, WIDTH
from demo_model.drawing.character import random_character
from demo_model.drawing.motion import TRAIN_MOTIONS, mixture
from demo_model.drawing.render import render
from demo_model.drawing.skeleton import posed
from demo_model.drawing.widened import fitting, scaled, shifted, widened
from demo_model.files import HOME, WEIGHTS
from demo_model.training.trainer import Trainer, batch_rng

POINTS = 133
SIDE = 192  # pixels of the pictures that are kept
PICTURES, BATCH, STEPS, LEARNING_RATE = 16_000, 32, 5_500, 0.01
SPREAD = 5.0  # bins: deviation of the distribution that a point is learned as
ZOOM = 175, 440  # pixels of RTMPose's picture that the side of a drawn one takes, at most
BUILD = Path("build/training/pose_network")
ANKLES = {15: (17, 18, 19), 16: (20, 21, 22)}  # COCO's feet, which nobody draws: left, right


class PoseNetwork(nn.Module):
    """Pictures (b, 3, 384, 288), blue first, normalised → SimCC (b, 133, 576), (b, 133, 768)."""

    def __init__(self, widths=(24, 40, 80, 112), hidden: int = 208):
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, stride=2, padding=1)
        steps = pairwise(widths)
        self.levels = nn.ModuleList([Level(low, high) for low, high in steps])
        self.rise = nn.Conv2d(widths[-1], widths[-2], 1)
        self.heatmaps = nn.Conv2d(widths[-2], POINTS, 1)
        cells = (HEIGHT // 16) * (WIDTH // 16)
        self.hidden = nn.Linear(cells, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.mix = Mix(hidden)
        self.conv_out_x = nn.Linear(hidden, WIDTH * BINS_PER_PIXEL)
        self.conv_out_y = nn.Linear(hidden, HEIGHT * BINS_PER_PIXEL)

    def forward(self, picture):
        """Probabilities of the columns and of the rows of each point, highest 1 where sure."""
        x, y = self.logits(picture)
        return sure(x), sure(y)

    def logits(self, picture):
        """The same before they are scaled."""
        features = [F.relu(self.conv_in(F.avg_pool2d(picture, 2)))]
        for level in self.levels:
            features.append(level(features[-1]))
        raised = F.interpolate(self.rise(features[-1]), scale_factor=2.0, mode="nearest")
        maps = self.heatmaps(F.relu(features[-2] + raised))
        points = self.norm(self.hidden(rearrange(maps, "b k h w -> b k (h w)")))
        points = self.mix(points)
        return self.conv_out_x(points), self.conv_out_y(points)


class Level(nn.Module):
    """Half the resolution, then residual blocks."""

    def __init__(self, low: int, high: int, blocks: int = 2):
        super().__init__()
        self.down = nn.Conv2d(low, high, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Block(high) for _ in range(blocks)])

    def forward(self, x):
        """(b, c, h, w) → (b, c', h / 2, w / 2)."""
        x = F.relu(self.down(x))
        for block in self.blocks:
            x = x + block(x)
        return x


class Block(nn.Module):
    """What a residual block adds."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 1)

    def forward(self, x):
        """(b, c, h, w), and back."""
        return self.conv2(F.relu(self.conv1(x)))


class Mix(nn.Module):
    """Lets every point see the others: they belong to one body."""

    def __init__(self, width: int):
        super().__init__()
        self.across = nn.Sequential(nn.Linear(POINTS, 64), nn.ReLU(), nn.Linear(64, POINTS))
        self.along = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, width))

    def forward(self, points):
        """(b, k, hidden), and back."""
        points = points + self.across(points.transpose(1, 2)).transpose(1, 2)  # over k
        return points + self.along(points)


def sure(logits: torch.Tensor) -> torch.Tensor:
    """Scores of each bin, about 1 at the middle of a point that is found exactly. The root keeps an
    elbow in a straight sleeve, which may lie anywhere along it, surer than noise.
    """
    highest = 1 / (SPREAD * (2 * torch.pi) ** 0.5)
    return (torch.softmax(logits, dim=-1) / highest).sqrt()


class Drawings:
    """Characters of many builds in many postures, and their points; drawn when first asked for."""

    def __init__(self, path: Path, count: int):
        if not path.exists():
            self._draw(path, count)
        self.pictures = np.load(path, mmap_mode="r")  # n SIDE SIDE 3, uint8, RGB
        self.points = np.load(path.with_suffix(".points.npy"))  # n k 2, fractions

    def batch(self, rng: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut-out pictures (b, 3, 384, 288), and their points (b, k, 2) in bins."""
        rows = torch.randint(len(self.pictures), (size,), generator=rng).sort().values.tolist()
        numbers = np.random.default_rng(int(torch.randint(2**31, (), generator=rng)))
        cut = [cut_out(self.pictures[row], self.points[row], numbers) for row in rows]
        pictures, points = (torch.from_numpy(np.stack(values)) for values in zip(*cut))
        pictures = (pictures.flip(-1).float() - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
        return rearrange(pictures.float(), "b h w c -> b c h w"), points

    def _draw(self, path: Path, count: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        shape = count, SIDE, SIDE, 3
        pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        points = []
        for row in tqdm(range(count), desc="Drawing", unit="picture"):
            pictures[row], pose = drawing(np.random.default_rng([row, 0xD3A]), row)
            points.append(wholebody(pose))
        pictures.flush()
        np.save(path.with_suffix(".points.npy"), np.array(points, np.float32))
        os.replace(partial, path)


def drawing(rng: np.random.Generator, seed: int) -> tuple[np.ndarray, Pose]:
    """A training character of any build, anywhere, in a posture of a training motion or of a
    mixture that no other has.
    """
    character, build = random_character(seed), random_character(seed).build
    if rng.random() < 0.7:
        build = fitting(widened(build, rng))
    if rng.random() < 0.5:
        build = scaled(build, rng.uniform(0.6, 1.05))
    character = replace(character, build=build)
    named = rng.random() < 0.4
    motion = TRAIN_MOTIONS[str(rng.choice(list(TRAIN_MOTIONS)))] if named else mixture(1000 + seed)
    pose = posed(build, motion.joints(rng.uniform(0, 60)))
    if rng.random() < 0.5:
        pose = shifted(pose, rng.uniform((-0.15, -0.15), (0.15, 0.03)))
    return render(character, pose, SIDE, SIDE), pose


def wholebody(pose: Pose) -> np.ndarray:
    """The 133 points (k, 2) of COCO-WholeBody of a pose; feet are where the ankles are."""
    points = np.zeros((POINTS, 2))
    points[BODY] = pose.body  # the neck has no place: the second of BODY is written over
    points[[5, 6]] = pose.body[[5, 2]]
    for ankle, feet in ANKLES.items():
        points[list(feet)] = points[ankle]
    points[FACE], points[HANDS] = pose.face, pose.hands.reshape(-1, 2)
    return points


def cut_out(picture: np.ndarray, points: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """A random part of a picture as DWPose cuts it, (H, W, 3), uint8, RGB, in light of its own; and
    its points in bins (k, 2).
    """
    low, high = points.min(axis=0), points.max(axis=0)
    largest = min(ZOOM[1], 0.97 * min(np.array([WIDTH, HEIGHT]) / (high - low)))
    zoom = np.exp(rng.uniform(*np.log([min(ZOOM[0], largest), largest])))
    room = np.array([WIDTH, HEIGHT]) - zoom * (high - low)
    corner = rng.uniform(0.1, 0.9, 2) * room - zoom * low
    blurred = picture if rng.random() < 0.5 else cv2.resize(picture, (128, 128), None, 0, 0, 3)
    scale = zoom / blurred.shape[0]
    move = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    light = rng.uniform(0.85, 1.1) * np.arange(256)[:, None] + rng.uniform(-12, 12, 3)
    lit = cv2.LUT(blurred, np.clip(light, 0, 255).astype(np.uint8)[None])
    cut = cv2.warpAffine(lit, move, (WIDTH, HEIGHT))
    return cut, (BINS_PER_PIXEL * (zoom * points + corner)).astype(np.float32)


def divergence(logits: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from normal distributions about bins (b, k)."""
    places = torch.arange(logits.shape[-1], dtype=torch.float32)
    target = torch.softmax(-((places - bins[..., None]) ** 2) / (2 * SPREAD**2), dim=-1)
    found = torch.log_softmax(logits.float(), dim=-1)
    return F.kl_div(found, target, reduction="none").sum(dim=-1).mean()


def train(minutes: float, steps: int) -> None:
    """Train, or go on, and write what is there."""
    torch.manual_seed(0)
    drawings = Drawings(BUILD / f"drawings_{PICTURES}.npy", PICTURES)
    network = PoseNetwork().to(memory_format=torch.channels_last)
    log = HOME / "logs" / "pose_network.csv"
    trainer = Trainer(network, BUILD, log, steps, LEARNING_RATE)

    ahead: dict[int, Future] = {}  # one batch is cut out while another is learned

    def batch_of(step: int) -> Future:
        return cutter.submit(drawings.batch, batch_rng(7, step), BATCH)

    def losses(step: int) -> dict[str, torch.Tensor]:
        pictures, bins = (ahead.pop(step, None) or batch_of(step)).result()
        ahead[step + 1] = batch_of(step + 1)
        with torch.autocast("cpu", torch.bfloat16):
            x, y = network.logits(pictures.contiguous(memory_format=torch.channels_last))
        inside = {"x": divergence(x, bins[..., 0]), "y": divergence(y, bins[..., 1])}
        return {"loss": sum(inside.values()), **inside}

    with ThreadPoolExecutor(1) as cutter:
        trainer.run(losses, minutes)
    export(trainer.average.float().to(memory_format=torch.contiguous_format), WEIGHTS)


def export(network: PoseNetwork, folder: Path) -> Path:
    """Write ONNX with weights in float16, which are cast when they are used."""
    entry = DWPOSE["dwpose_points"]
    path = folder / entry.file
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        torch.onnx.export(
            network.eval(),
            (torch.zeros(entry.image),),
            str(partial),
            input_names=["input"],
            output_names=list(entry.outputs),
            dynamo=False,
        )
        onnx.save(halved(onnx.load(partial)), partial)
    return path


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights in float16, each cast back to float32."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 64:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    for node in model.graph.node:
        node.ClearField("name")  # nobody reads them, and they take room
    return model


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--steps", type=int, default=STEPS, help="length of the whole training")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(options.minutes, options.steps)


if __name__ == "__main__":
    main()
