"""The picture of a character in a pose, and the pose map that goes with it."""

import numpy as np
from PIL import Image

from animate_anyone.pose import Pose, draw_pose
from demo_model.drawing.character import Character
from demo_model.drawing.figure import draw_figure
from demo_model.drawing.motion import Motion
from demo_model.drawing.scenery import backdrop
from demo_model.drawing.skeleton import pose_at

SIZE = 128  # pixels both ways, which the small model works at
SUPERSAMPLE = 4  # drawn this much larger, then averaged down: Pillow's polygons have hard edges
MAP_SIZE = 512  # the pose guider's own canvas; its line widths are made for it


def render(character: Character, pose: Pose, width: int = 128, height: int = 128) -> np.ndarray:
    """The picture (height, width, 3), uint8 RGB, of a character in a pose.

    The scene is square; another shape of picture stretches it, as it does the pose.
    """
    side = SUPERSAMPLE * max(width, height)
    picture = backdrop(character, side).copy()
    draw_figure(picture, character, np.asarray(pose.body, np.float64))
    picture = picture.reduce(SUPERSAMPLE)  # the mean of each block
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def pose_map(pose: Pose, width: int = 128, height: int = 128) -> np.ndarray:
    """The pose map (height, width, 3), uint8 RGB: drawn large, resized like a pose video."""
    return np.asarray(shrunk(Image.fromarray(draw_pose(pose, MAP_SIZE, MAP_SIZE)), width, height))


def render_clip(
    character: Character,
    motion: str | Motion,
    frames: int,
    fps: float = 12,
    size: int = 128,
    start: float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and pose maps, each (frames, size, size, 3) uint8, from `start` seconds on."""
    pictures, maps = np.empty((2, frames, size, size, 3), np.uint8)
    for frame in range(frames):
        pose = pose_at(character, motion, start + frame / fps)
        pictures[frame] = render(character, pose, size, size)
        maps[frame] = pose_map(pose, size, size)
    return pictures, maps


def shrunk(picture: Image.Image, width: int, height: int) -> Image.Image:
    """A picture on black, resized with Lanczos, which takes half as long without the empty margin.

    The filter reaches three pixels of the result; the part kept has twice that around it. Equal
    to resizing the whole where the scale is a whole number, and to one grey level elsewhere.
    """
    step = picture.width / width, picture.height / height
    left, top, right, bottom = picture.getbbox() or (0, 0, 1, 1)
    left, top = max(int(left / step[0]) - 6, 0), max(int(top / step[1]) - 6, 0)
    right, bottom = min(int(right / step[0]) + 7, width), min(int(bottom / step[1]) + 7, height)
    box = left * step[0], top * step[1], right * step[0], bottom * step[1]
    small = Image.new("RGB", (width, height))
    part = picture.resize((right - left, bottom - top), Image.Resampling.LANCZOS, box=box)
    small.paste(part, (left, top))
    return small
