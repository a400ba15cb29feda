"""DWPose: the detector that the published weights learned their poses from, on OpenVINO.

Source: Yang et al. 2023, github.com/IDEA-Research/DWPose, `dwpose/{onnxdet,onnxpose,wholebody}.py`.
A YOLOX network finds people; an RTMPose network finds 133 points of each, by SimCC: one
distribution over columns and one over rows per point. Both get blue first, as the reference passes
its pictures on, though the means below are those of red, green and blue.

Points (n, 2) are in pixels of the picture unless a docstring says otherwise; see `crop`.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from .boxes import groups
from .crop import Crop
from .detector import PoseDetector, Sighting, is_somebody, pose_from_pixels, set_neck
from .keypoints import MIN_SCORE, NECK

SIDE, GREY = 640, 114  # YOLOX's picture, and what is around it
STRIDES = 8, 16, 32  # pixels of that picture per cell of its three grids
PERSON, PERSON_SCORE, SAME_BOX = 0, 0.3, 0.45  # class; overlap of boxes of one person
WIDTH, HEIGHT, BINS_PER_PIXEL = 288, 384, 2  # RTMPose's picture, SimCC's resolution
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
ROOM = 1.25  # around the box of a person; again as much where only its points are known

# OpenPose's 18 body points among COCO's 17; the neck has none of its own.
BODY = [0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
# COCO-WholeBody's 133 points: 17 of the body, 6 of the feet, then these.
FACE, HANDS = np.s_[23:91], np.s_[91:133]  # the left hand first


class DWPose(PoseDetector):
    """Finds people with the networks of `networks.DWPOSE`.

    Args:
        parts: the compiled networks by name. Without `dwpose_person` every picture is taken for one
            person's.
    """

    def __init__(self, parts: Mapping):
        self._parts = dict(parts)

    def find(self, image: np.ndarray) -> list[Crop]:
        """A crop per person, the surest first."""
        height, width = image.shape[:2]
        if "dwpose_person" not in self._parts:
            return [pose_crop(np.array([[0, 0], [width, height]]), ROOM)]
        picture, scale = letterbox(image)
        raw = self._run("dwpose_person", picture)["boxes"][0]
        scores = raw[:, 4] * raw[:, 5 + PERSON]
        sure = scores > PERSON_SCORE
        boxes = (decode(raw)[sure] / scale).astype(float)
        found = groups(boxes + [0, 0, 1, 1], scores[sure], SAME_BOX)  # the last pixels are in them
        return [pose_crop(boxes[same[0]].reshape(2, 2), ROOM) for same in found]

    def look(self, image: np.ndarray, crop: Crop) -> Sighting | None:
        """Body, hands and face in a crop."""
        answer = self._run("dwpose_points", (cut(image, crop)[..., ::-1] - MEAN) / STD)
        simcc = answer["simcc_x"][0], answer["simcc_y"][0]
        bins = np.stack([axis.argmax(axis=1) for axis in simcc], axis=1)
        scores = np.mean([axis.max(axis=1) for axis in simcc], axis=0)
        points = crop.place(bins / BINS_PER_PIXEL / [WIDTH, HEIGHT])
        pose = pose_from_pixels(
            image,
            set_neck(points[BODY], scores[BODY]),
            (points[HANDS].reshape(2, -1, 2), scores[HANDS].reshape(2, -1)),
            (points[FACE], scores[FACE]),
        )
        if not is_somebody(pose):
            return None
        return Sighting(pose, pose_crop(points[scores >= MIN_SCORE], ROOM * ROOM))

    def _run(self, name: str, picture: np.ndarray) -> dict[str, np.ndarray]:
        return self._parts[name](image=picture.transpose(2, 0, 1)[None].astype(np.float32))


def letterbox(image: np.ndarray) -> tuple[np.ndarray, float]:
    """YOLOX's picture (640, 640, 3), blue first, with the image at its top left; and by how much
    the image was scaled.
    """
    height, width = image.shape[:2]
    scale = min(SIDE / height, SIDE / width)
    size = max(int(width * scale), 1), max(int(height * scale), 1)
    picture = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    picture[: size[1], : size[0]] = cv2.resize(image[..., ::-1], size)
    return picture, scale


def decode(raw: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) in pixels of YOLOX's picture from its answer (n, 85): offsets in cells,
    logarithms of sizes, and scores.
    """
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.indices((SIDE // stride, SIDE // stride)).reshape(2, -1)
        cells.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((len(rows), 1), stride))
    scale = np.concatenate(strides)
    middles = ((np.concatenate(cells) + raw[:, :2]) * scale).astype(np.float32)
    sizes = (np.exp(raw[:, 2:4]) * scale).astype(np.float32)
    return np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1)


def cut(image: np.ndarray, crop: Crop) -> np.ndarray:
    """The pixels of a crop, scaled to RTMPose's picture (384, 288, 3); beyond the image is
    black.
    """
    up = np.array([0, -crop.size[0] / 2])
    there = corner(crop.centre, crop.centre + up)
    here = corner(np.array([WIDTH, HEIGHT]) / 2, np.array([WIDTH / 2, (HEIGHT - WIDTH) / 2]))
    return cv2.warpAffine(image, cv2.getAffineTransform(there, here), (WIDTH, HEIGHT))


def corner(middle: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Three points that fix a crop: its middle, one above it, and one as far to the left of that.
    Rounded where the reference rounds.
    """
    middle, above = middle.astype(np.float32), above.astype(np.float32)
    return np.stack([middle, above, above - [middle[1] - above[1], 0]]).astype(np.float32)


def pose_crop(points: np.ndarray, factor: float) -> Crop:
    """The box of some points, with room around it, in the shape of RTMPose's picture."""
    box = Crop.around(points)
    width, height = box.size * factor
    shape = WIDTH / HEIGHT
    size = (width, width / shape) if width > height * shape else (height * shape, height)
    return Crop(box.centre, np.array(size))
