"""Pose maps: a skeleton drawn the way the pose guider was trained to read it.

The look is DWPose's (Yang et al. 2023, `dwpose/util.py`), which draws the body in the OpenPose
convention of ControlNet: 18 joints in rainbow colours, fingers as a colour wheel, the face as dots.
A network learned from exactly these pixels, so the rasteriser matters: OpenCV's ellipses, lines and
circles, with integer centres, half axes and angles, cut off rather than rounded.
"""

import colorsys
import math

import cv2
import numpy as np

from .keypoints import HAND_POINTS, MIN_SCORE, MISSING, Pose

FARTHEST = 1_000_000  # pixels from the corner; OpenCV's whole numbers end not far beyond
LIMB_HALF_WIDTH, JOINT_RADIUS, FINGER_WIDTH, FACE_RADIUS = 4, 4, 2, 3  # pixels, at any canvas size
LIMB_BRIGHTNESS = 0.6  # dims the limbs so that the joints drawn over them stand out
DIMMED = (LIMB_BRIGHTNESS * np.arange(256)).astype(np.uint8)  # a table is faster than products

# (from, to) in drawing order; limb i has colour i. The angle of a limb is that of to -> from.
LIMBS = (
    *((1, 2), (1, 5)),  # neck to shoulders
    *((2, 3), (3, 4), (5, 6), (6, 7)),  # arms
    *((1, 8), (8, 9), (9, 10)),  # right side of the trunk and leg
    *((1, 11), (11, 12), (12, 13)),  # left side of the trunk and leg
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),  # neck, nose, eyes, ears
)

# A rainbow in steps of 20 degrees of hue, beginning at red; each channel is a whole number.
RAINBOW = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)

# Five fingers, each a chain of four bones that begins at the wrist (point 0).
FINGER_BONES = tuple(
    (0 if joint == first else joint - 1, joint)
    for first in range(1, HAND_POINTS, 4)
    for joint in range(first, first + 4)
)


def draw_pose(pose: Pose, width: int, height: int) -> np.ndarray:
    """Draw a pose on black: limbs, joints, hands, then face, later parts over earlier ones.

    Returns a (height, width, 3) uint8 RGB picture. Line widths are fixed in pixels, so draw at the
    size of the guider's training data (short side about 512) and resize the picture afterwards.
    Points that are not trusted or lie very far outside are not drawn.
    Source: `draw_bodypose`, `draw_handpose` and `draw_facepose` of DWPose.
    """
    size = width, height
    canvas = np.zeros((height, width, 3), np.uint8)
    draw_body(canvas, places(pose.body, np.asarray(pose.body_score) > MIN_SCORE, size))
    for hand, score in zip(pose.hands, pose.hands_score):
        draw_hand(canvas, pixels(places(hand, np.asarray(score) >= MIN_SCORE, size)))
    draw_face(canvas, pixels(places(pose.face, np.asarray(pose.face_score) >= MIN_SCORE, size)))
    return canvas


def places(points: np.ndarray, trusted: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points (n, 2) in pixels, NaN where they are missing, not trusted (n,) or very far away."""
    points = np.asarray(points, np.float64)
    with np.errstate(over="ignore"):
        there = points * size
    near = (np.abs(there) <= FARTHEST).all(axis=1)
    missing = (points == MISSING).any(axis=1)
    return np.where((trusted & near & ~missing)[:, None], there, np.nan)


def draw_body(canvas: np.ndarray, points: np.ndarray) -> None:
    """Draw dimmed limbs and bright joints from points (18, 2) in pixels, NaN where missing."""
    for (start, end), colour in zip(LIMBS, RAINBOW):
        if np.isfinite(points[[start, end]]).all():
            draw_limb(canvas, points[start], points[end], colour)
    cv2.LUT(canvas, DIMMED, dst=canvas)
    for point, colour in zip(points, RAINBOW):
        if np.isfinite(point).all():
            draw_dot(canvas, whole(point), JOINT_RADIUS, colour)


def draw_hand(canvas: np.ndarray, points: list) -> None:
    """Draw the bones of one hand around the colour wheel, then its 21 joints in blue."""
    for bone, (start, end) in enumerate(FINGER_BONES):
        if points[start] and points[end]:
            hue = colorsys.hsv_to_rgb(bone / len(FINGER_BONES), 1, 1)
            colour = tuple(255 * channel for channel in hue)
            cv2.line(canvas, points[start], points[end], colour, FINGER_WIDTH)
    for point in filter(None, points):
        draw_dot(canvas, point, JOINT_RADIUS, (0, 0, 255))


def draw_face(canvas: np.ndarray, points: list) -> None:
    """Draw the 68 face points as white dots."""
    for point in filter(None, points):
        draw_dot(canvas, point, FACE_RADIUS, (255, 255, 255))


def draw_limb(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: tuple) -> None:
    """Fill the ellipse that spans two points, given in pixels."""
    along = start - end
    angle = math.degrees(math.atan2(along[1], along[0]))
    half_axes = int(math.hypot(*along) / 2), LIMB_HALF_WIDTH
    outline = cv2.ellipse2Poly(whole((start + end) / 2), half_axes, int(angle), 0, 360, 1)
    cv2.fillConvexPoly(canvas, outline, colour)


def draw_dot(canvas: np.ndarray, point: tuple[int, int], radius: int, colour: tuple) -> None:
    """Fill a circle about a pixel."""
    cv2.circle(canvas, point, radius, colour, thickness=-1)


def pixels(points: np.ndarray) -> list[tuple[int, int] | None]:
    """The whole pixels of hand or face points (n, 2); None where a point is missing.

    As in DWPose, row 0 and column 0 count as missing too.
    """
    corners = np.nan_to_num(points, nan=-1).astype(int)
    return [(x, y) if x > 0 and y > 0 else None for x, y in corners.tolist()]


def whole(point: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) that a point lies in: cut off, not rounded."""
    return int(point[0]), int(point[1])
