"""BlazePose: MediaPipe's Holistic chain of small networks, on OpenVINO.

Source: github.com/google-ai-edge/mediapipe 0.10.21, graph `HolisticLandmarkCpu` with
`model_complexity` 1. The body is found first; from its points follow crops for the hands and the
face, which smaller networks make more exact before the points in them are found.

Points (n, 2) are in pixels of the picture unless a docstring says otherwise; see `crop`.
"""

from collections.abc import Mapping
from functools import cache

import cv2
import numpy as np

from .boxes import groups
from .crop import DOWN, RIGHT, UP, Crop, turn
from .detector import NECK, PoseDetector, Sighting, is_somebody, pose_from_pixels, set_neck
from .keypoints import FACE_POINTS, HAND_POINTS, Pose

PERSON_SCORE, BODY_PRESENCE, PART_PRESENCE = 0.5, 0.5, 0.5  # what counts as found
WRIST_VISIBILITY = 0.1  # below it a hand is not looked for
SAME_BOX = 0.3  # overlap of proposals that are averaged
HEATMAP_WINDOW, HEATMAP_SCORE = 4, 0.5  # cells to each side of a point; the best must be as sure

# OpenPose's 18 body points among BlazePose's 33; the neck has none of its own.
BODY_OF_33 = [0, NECK, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7]
# Wrist, little finger, index finger; the person's left hand first.
HAND_ENDS = [15, 17, 19], [16, 18, 20]
HEAD_POINTS, RIGHT_EYE, LEFT_EYE = 11, 5, 2
HIPS, REACH = 33, 34  # two points that describe the crop of the body
# The 68 points of the 300-W challenge among the face network's 468.
FACE_OF_468 = [
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # lips, outside
    *(78, 82, 13, 312, 308, 317, 14, 87),  # lips, inside
]


class BlazePose(PoseDetector):
    """Finds people with the six networks of `networks.BLAZEPOSE`.

    Args:
        parts: the compiled networks by name.
    """

    def __init__(self, parts: Mapping):
        self._parts = dict(parts)

    def find(self, image: np.ndarray) -> list[Crop]:
        """A crop per person; of each the detector knows the middle of the hips and how far the
        body reaches from there.
        """
        proposals = self._propose("blazepose_person", Crop.of_picture(image), image)
        return [body_crop(points[0], points[1]) for points in proposals]

    def look(self, image: np.ndarray, crop: Crop) -> Sighting | None:
        """Body, hands and face in a crop."""
        answer = self._run("blazepose_body", cut(image, crop, 256) / 255)
        if answer["presence"].item() < BODY_PRESENCE:
            return None
        raw = answer["points"].reshape(39, 5)
        inside = refine(raw[:, :2] / 256, answer["heatmaps"][0])
        points, visibility = crop.place(inside), sigmoid(raw[:33, 3])
        hands = [self._hand(image, points[ends], visibility[ends[0]]) for ends in HAND_ENDS]
        face = self._face(image, points[:HEAD_POINTS])
        pose = to_pose(image, points, visibility, hands, face)
        if not is_somebody(pose):
            return None
        return Sighting(pose, body_crop(points[HIPS], points[REACH]))

    def _hand(self, image, ends: np.ndarray, visibility: float) -> tuple[np.ndarray, float] | None:
        """Points (21, 2) of the hand whose wrist, little and index finger are known, and how sure
        it is that there is a hand.
        """
        if visibility < WRIST_VISIBILITY:
            return None
        wrist, little, index = ends
        knuckles = (2 * index + little) / 3
        rough = Crop.about(knuckles, wrist, DOWN).grown(2.7, shift=-0.1)
        picture = cut(image, rough, 256) / 255
        corners = self._run("blazepose_hand_crop", picture)["points"].reshape(2, 2) / 256
        middle, edge = rough.place(corners)
        crop = Crop.about(middle, edge, DOWN).grown(1, shift=-0.1)
        answer = self._run("blazepose_hand", cut(image, crop, 224) / 255)
        points = answer["points"].reshape(HAND_POINTS, 3)[:, :2] / 224
        return found(crop.place(points), answer["presence"].item())

    def _face(self, image, head: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Points (468, 2) of the face about which the body network found points (11, 2), and how
        sure it is that there is a face.
        """
        rough = Crop.around(head, turn(head[RIGHT_EYE], head[LEFT_EYE], RIGHT)).grown(3)
        proposals = self._propose("blazepose_face_crop", rough, image)
        if not proposals:
            return None
        right_eye, left_eye, *_ = marks = proposals[0]
        crop = Crop.around(marks, turn(right_eye, left_eye, RIGHT)).grown(2, shift=-0.1)
        answer = self._run("blazepose_face", cut(image, crop, 192) / 255)
        points = answer["points"].reshape(468, 3)[:, :2] / 192
        return found(crop.place(points), sigmoid(answer["presence"]).item())

    def _propose(self, name: str, crop: Crop, image: np.ndarray) -> list[np.ndarray]:
        """What a detector sees in a crop: points (k, 2) of each thing, the surest first.

        Proposals of one thing are averaged by their scores ("weighted" non-maximum suppression).
        """
        side = DETECTOR_SIDES[name]
        answer = self._run(name, cut(image, crop, side, cv2.BORDER_CONSTANT) / 127.5 - 1)
        scores = sigmoid(answer["scores"].ravel())
        sure = scores >= PERSON_SCORE
        boxes, points = decode(answer["boxes"][0][sure], anchors(side)[sure], side)
        return [
            crop.place(np.average(points[same], axis=0, weights=scores[sure][same]))
            for same in groups(boxes, scores[sure], SAME_BOX)
        ]

    def _run(self, name: str, picture: np.ndarray) -> dict[str, np.ndarray]:
        return self._parts[name](image=picture[None].astype(np.float32))


def cut(image: np.ndarray, crop: Crop, side: int, border=cv2.BORDER_REPLICATE) -> np.ndarray:
    """The pixels of a square crop, scaled to (side, side, 3).

    The OpenCV inside MediaPipe looks at places that are rounded to 32nds of a pixel, as fixed-point
    maps do; a later one does not, and the networks notice.
    """
    along_rows, along_columns = (crop.axes() * crop.size / side).T[:, :, None] * np.arange(side)
    starts = along_rows + crop.place(np.zeros(2))[:, None]
    x, y = (np.add.outer(*pair).astype(np.float32) for pair in zip(along_columns, starts))
    places, fractions = cv2.convertMaps(x, y, cv2.CV_16SC2)
    return cv2.remap(image, places, fractions, cv2.INTER_LINEAR, borderMode=border)


def body_crop(hips: np.ndarray, reach: np.ndarray) -> Crop:
    """What the body network wants to see: hips in the middle, head up, and some room."""
    return Crop.about(hips, reach, UP).grown(1.25)


def found(points: np.ndarray, presence: float) -> tuple[np.ndarray, float] | None:
    """A hand or face, if it is one."""
    return (points, presence) if presence >= PART_PRESENCE else None


def to_pose(image: np.ndarray, points, visibility, hands, face) -> Pose:
    """OpenPose's points from BlazePose's: 33 of the body, hands or None, face or None."""
    hands = [hand or (np.zeros((HAND_POINTS, 2)), 0.0) for hand in hands]
    face, presence = face or (np.zeros((468, 2)), 0.0)
    return pose_from_pixels(
        image,
        set_neck(points[BODY_OF_33], visibility[BODY_OF_33]),
        (np.stack([hand for hand, _ in hands]), [[sure] * HAND_POINTS for _, sure in hands]),
        (face[FACE_OF_468], [presence] * FACE_POINTS),
    )


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Probabilities from logits, without overflow."""
    return np.exp(-np.logaddexp(0, -values))


# Side of the square picture of a detector → cells along a side of each grid, proposals per cell.
GRIDS = {224: ((28, 2), (14, 2), (7, 6)), 128: ((16, 2), (8, 6))}
DETECTOR_SIDES = {"blazepose_person": 224, "blazepose_face_crop": 128}


@cache
def anchors(side: int) -> np.ndarray:
    """Where proposals are made: the centres of the grids' cells, row by row, (n, 2) in
    fractions.
    """
    grids = []
    for cells, each in GRIDS[side]:
        row, column = np.indices((cells, cells)).reshape(2, -1)
        grids.append(np.repeat(np.stack([column, row], 1) + 0.5, each, axis=0) / cells)
    return np.concatenate(grids)


def decode(raw: np.ndarray, centres: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) and points (n, k, 2), in fractions of the crop, from a detector's offsets
    (n, 4 + 2 k) in pixels.
    """
    pairs = raw.reshape(len(raw), raw.shape[1] // 2, 2) / side
    middles, sizes = centres + pairs[:, 0], pairs[:, 1]
    boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1)
    return boxes, centres[:, None] + pairs[:, 2:]


def refine(points: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Move points (k, 2), in fractions of the crop, to the centre of gravity of their heatmaps
    (h, w, k) nearby, where those are sure.

    Source: MediaPipe's `RefineLandmarksFromHeatmapCalculator`. Its graph asks for windows of 7
    cells; its answers are those of 9.
    """
    size = np.array(heatmaps.shape[1::-1])
    refined = points.copy()
    for index, (column, row) in enumerate((points * size).astype(int)):
        if not (0 <= column < size[0] and 0 <= row < size[1]):
            continue
        left, top = max(column - HEATMAP_WINDOW, 0), max(row - HEATMAP_WINDOW, 0)
        window = np.s_[top : row + HEATMAP_WINDOW + 1, left : column + HEATMAP_WINDOW + 1, index]
        weights = sigmoid(heatmaps[window])
        if weights.max() >= HEATMAP_SCORE:
            rows, columns = np.indices(weights.shape)
            centre = np.average([columns + left, rows + top], axis=(1, 2), weights=weights)
            refined[index] = centre / size
    return refined
