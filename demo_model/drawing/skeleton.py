"""From joint angles to keypoints: forward kinematics on a character's own bones."""

import numpy as np

from animate_anyone.pose import Pose
from demo_model.drawing.character import GROUND, Build, Character
from demo_model.drawing.motion import MOTIONS, Joints, Motion
from demo_model.drawing.shapes import arc, direction, ellipse

RIGHT, LEFT = -1, 1  # the character's own right is on the picture's left

# Places on the head, in head radii from its centre, when the face looks straight ahead.
EYE, EAR, NOSE, MOUTH = (0.4, 0.16), (0.97, 0.14), (0.0, 0.34), (0.0, 0.54)
FACE_TURN = 0.3  # how far a fully turned face moves across the head, in head radii
PALM = 1.25  # from the wrist to the middle of the hand, in arm radii


def pose_at(character: Character, motion: str | Motion, seconds: float) -> Pose:
    """Where the character's keypoints are at a time: a complete pose, every score 1.

    The points are fractions of a square picture; the lower foot is on the ground except in jumps.
    """
    motion = MOTIONS[motion] if isinstance(motion, str) else motion
    return posed(character.build, motion.joints(seconds))


def at_ease(character: Character) -> Pose:
    """The pose that a character has in reference pictures."""
    return posed(character.build, Joints())


def posed(build: Build, joints: Joints) -> Pose:
    """The pose of a body whose joints are at given angles."""
    body = np.zeros((18, 2))
    place_limbs(body, build, joints)
    body[:, 0] += 0.5 + joints.sway * build.leg
    sole = max(body[10, 1], body[13, 1]) + build.foot
    body[:, 1] += GROUND - joints.hop * build.leg - sole
    face = place_head(body, build, joints)
    hands = [fan(body[6], body[7], build), fan(body[3], body[4], build)]  # left first, as in DWPose
    return Pose(body=body, body_score=np.ones(18), hands=np.stack(hands), face=face)


def place_limbs(body: np.ndarray, build: Build, joints: Joints) -> None:
    """Fill in neck, arms and legs (points 1 to 13), seen from the middle of the hips."""
    across, neck = turned((1, 0), joints.lean), turned((0, -build.trunk), joints.lean)
    arm, leg = (build.upper_arm, build.forearm), (build.thigh, build.shin)
    shoulder, hip = build.shoulder * across, build.hip * across
    body[1] = neck
    body[2:5] = chain(neck - shoulder, RIGHT, arm, (joints.right_arm, joints.right_elbow))
    body[5:8] = chain(neck + shoulder, LEFT, arm, (joints.left_arm, joints.left_elbow))
    body[8:11] = chain(-hip, RIGHT, leg, (joints.right_leg, joints.right_knee))
    body[11:14] = chain(hip, LEFT, leg, (joints.left_leg, joints.left_knee))


def place_head(body: np.ndarray, build: Build, joints: Joints) -> np.ndarray:
    """Fill in nose, eyes and ears (points 0 and 14 to 17); returns the 68 face points."""
    tilt, shift = joints.lean + joints.tilt, (FACE_TURN * joints.turn, 0)
    centre = body[1] + turned((0, -build.neck), joints.lean + joints.tilt / 2)
    (eye, eye_y), (ear, ear_y) = EYE, EAR
    front = np.array([NOSE, (-eye, eye_y), (eye, eye_y)]) + shift
    marks = np.concatenate([front, [(-ear, ear_y), (ear, ear_y)]])
    body[[0, 14, 15, 16, 17]] = centre + build.head * turned(marks, tilt)
    return centre + build.head * turned(FACE + shift, tilt)


def chain(root: np.ndarray, side: int, bones: tuple, angles: tuple) -> np.ndarray:
    """The three joints (3, 2) of a limb: root, middle, end."""
    upper = -side * angles[0]  # outwards is clockwise for a right limb
    middle = root + turned((0, bones[0]), upper)
    return np.stack([root, middle, middle + turned((0, bones[1]), upper - side * angles[1])])


def fan(elbow: np.ndarray, wrist: np.ndarray, build: Build) -> np.ndarray:
    """A hand (21, 2) of five straight fingers that spread in the direction of the forearm."""
    x, y = build.arm_radius * direction(elbow, wrist)
    return wrist + FAN @ np.array([(x, y), (-y, x)])


def fan_points() -> np.ndarray:
    """A hand (21, 2) that points along x, its wrist at the origin, in arm radii."""
    spreads, joints = (-58, -26, 0, 24, 46), (0.7, 1.25, 1.75, 2.2)
    return np.stack(
        [(0, 0), *(turned((joint, 0), spread) for spread in spreads for joint in joints)]
    )


def face_points() -> np.ndarray:
    """The 68 points of the 300-W challenge (68, 2) on a head of radius 1 about the origin."""
    (eye, eye_y), (nose_x, nose_y), (mouth_x, mouth_y) = EYE, NOSE, MOUTH
    jaw = arc(0, 0.05, 0.95, 0.86, 175, 5, 17)
    brows = [arc(side * eye, eye_y - 0.2, 0.2, 0.14, 200, 340, 5) for side in (RIGHT, LEFT)]
    bridge = np.linspace((nose_x, eye_y), (nose_x, nose_y), 4)
    nostrils = arc(nose_x, nose_y, 0.12, 0.07, 170, 10, 5)
    eyes = [ellipse(side * eye, eye_y, 0.15, 0.12, 6) for side in (RIGHT, LEFT)]
    lips = ellipse(mouth_x, mouth_y, 0.24, 0.13, 12), ellipse(mouth_x, mouth_y, 0.16, 0.06, 8)
    return np.concatenate([jaw, *brows, bridge, nostrils, *eyes, *lips])


def turned(points: np.ndarray | tuple, degrees: float) -> np.ndarray:
    """Points (..., 2) turned clockwise, as seen in the picture, about the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points) @ np.array([[c, s], [-s, c]])


FACE, FAN = face_points(), fan_points()
