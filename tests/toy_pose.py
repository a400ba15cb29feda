"""Networks with the ports of DWPose's files that see coloured figures, and pictures of them.

The person detector is surest in the middle of a red block; green blocks are animals. The points
network answers for each point with the rows and columns where a filter of its own responds.
All filters are random. Colours matter, so that a picture with red and blue swapped shows.
"""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

CLASSES, ANIMAL, POINTS = 80, 15, 133
WINDOW = 160  # pixels of the detector's picture, about the size of a figure
RED, GREEN = (200, 60, 40), (50, 180, 60)


class ToyPersonDetector(nn.Module):
    """(1, 3, 640, 640), blue first, 0 to 255 → (1, 8400, 85) as YOLOX without its last step."""

    def forward(self, picture):
        """Grids of 8, 16 and 32 pixels, one after the other."""
        return torch.cat([self.grid(picture / 255, stride) for stride in (8, 16, 32)], dim=1)

    def grid(self, picture, stride: int):
        """Boxes and scores (1, n, 85) of one grid; the middle one is the surest."""
        colours = nn.functional.avg_pool2d(picture, stride)
        window = WINDOW // stride // 2 * 2 + 1
        around = nn.functional.avg_pool2d(colours, window, stride=1, padding=window // 2)
        blue, green, red = around.chunk(3, dim=1)
        ramp = torch.arange(red.numel(), dtype=red.dtype).view(red.shape) / 1e5
        person, animal = 20 * (red - green - blue) - 4 + ramp, 20 * (green - red - blue) - 4 + ramp
        objectness = torch.sigmoid(torch.maximum(person, animal) + (1 if stride == 16 else 0))
        offsets = torch.cat([green + blue, red - blue], dim=1)
        sizes = torch.cat([2 + red, 2.2 + red + green], dim=1) + math.log(16 / stride)
        classes = [torch.sigmoid(person + 4)] + [torch.zeros_like(red)] * (CLASSES - 1)
        classes[ANIMAL] = torch.sigmoid(animal + 4)
        answer = torch.cat([offsets, sizes, objectness, *classes], dim=1)
        return answer.flatten(2).transpose(1, 2)


class ToyPoints(nn.Module):
    """(1, 3, 384, 288), about -2 to 2 → SimCC, (1, 133, 576) and (1, 133, 768)."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(3, POINTS, 11, padding=5)

    def forward(self, picture):
        """How strongly each filter responds, by column and by row, twice as fine as the pixels."""
        response = self.filters(picture)
        x, y = (response.mean(axis).repeat_interleave(2, dim=2) for axis in (2, 3))
        return self.peaks(x), self.peaks(y)

    def peaks(self, profile):
        """Smooth scores, whose best is between 0.1 and 1 as of points that are more or less
        sure."""
        smooth = nn.functional.avg_pool1d(profile, 41, stride=1, padding=20)
        best = smooth.max(dim=2, keepdim=True).values
        ramp = (
            torch.arange(profile.shape[2], dtype=profile.dtype) * 1e-5
        )  # of two bins that are equal the second wins
        return torch.sigmoid(4 * best) * torch.exp((smooth - best) * 20) + ramp


def write_toy_dwpose(folder: Path) -> Path:
    """Both networks as ONNX under DWPose's names in a weights folder."""
    torch.manual_seed(0)
    detector, points = ToyPersonDetector().eval(), ToyPoints().eval()
    export(folder / "DWPose/yolox_l.onnx", detector, (640, 640), ["output"])
    export(folder / "DWPose/dw-ll_ucoco_384.onnx", points, (384, 288), ["simcc_x", "simcc_y"])
    return folder


def export(path: Path, module: nn.Module, size: tuple[int, int], outputs: list[str]) -> None:
    """Write a network that takes one picture (1, 3, height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    example = (torch.zeros(1, 3, *size),)
    names = {"input_names": ["input"], "output_names": outputs}
    torch.onnx.export(module, example, path, dynamo=False, **names)


def figures(size: tuple[int, int], people=(), animals=(), seed: int = 0) -> Image.Image:
    """A picture (width, height) of noise with blocks: boxes (x0, y0, x1, y1) as fractions."""
    noise = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(noise)
    for boxes, colour in ((people, RED), (animals, GREEN)):
        for box in boxes:
            corners = [int(share * side) for share, side in zip(box, size * 2)]
            ImageDraw.Draw(picture).rectangle(corners, fill=colour)
    return picture
