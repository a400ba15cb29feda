"""People in pictures and films: what every detector does.

A detector says where people are (`find`) and what a crop shows (`look`). In a film the crop follows
the body from frame to frame, so that people are searched for only where one is lost.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..media.images import to_rgb
from .boxes import overlap
from .crop import Crop
from .keypoints import MIN_SCORE, NECK, SHOULDERS, Pose

LOOK_AROUND = 15  # frames from one search for newcomers to the next
SETTLING = 3  # looks at a newcomer, until the crop fits
LEAST_POINTS = 3  # of a body, else nobody is there
SAME_BODY = 0.05  # typical distance of the points of one person in two crops, in its size
SAME_PLACE = 0.5  # overlap of a newcomer with somebody who is known already


@dataclass(frozen=True)
class Sighting:
    """A person in a picture, and where to look for it in the next one."""

    pose: Pose
    crop: Crop


class PoseDetector(ABC):
    """Picture in, people out."""

    @abstractmethod
    def find(self, image: np.ndarray) -> list[Crop]:
        """Where there are people in a picture (H, W, 3), uint8, RGB; the surest first."""

    @abstractmethod
    def look(self, image: np.ndarray, crop: Crop) -> Sighting | None:
        """The person in a crop of a picture; None if there is none."""

    def __call__(self, picture: Image.Image) -> list[Pose]:
        """Everybody in a picture."""
        image = np.asarray(to_rgb(picture))
        return [person.pose for person in self._meet(image, self.find(image), [])]

    def follow(self, frames: Iterable[Image.Image]) -> Iterator[list[Pose]]:
        """Everybody in each frame of a film, one frame at a time. Who is followed keeps its place
        in the list; newcomers are put at its end, and are seen within `LOOK_AROUND` frames.
        """
        people: list[Sighting] = []
        for number, frame in enumerate(frames):
            image = np.asarray(to_rgb(frame))
            known, people = people, self._meet(image, [person.crop for person in people], [])
            lost = len(people) < max(len(known), 1)
            if lost or number % LOOK_AROUND == 0:
                known = people
                people = self._meet(image, self.find(image), known)
                people[len(known) :] = [self._settle(image, new) for new in people[len(known) :]]
            yield [person.pose for person in people]

    def _settle(self, image, person: Sighting) -> Sighting:
        """A newcomer, seen in the crop that follows from their own points: the one that the search
        proposes is often too tight, and points would wander in the first frames.
        """
        for _ in range(SETTLING):
            person = self.look(image, person.crop) or person
        return person

    def _meet(self, image, crops: list[Crop], known: list[Sighting]) -> list[Sighting]:
        """Those who are known, and who else is seen in the crops."""
        newcomers: list[Sighting] = []
        for crop in crops:
            person = self.look(image, crop)
            if person is None or any(same_place(person.pose, other.pose) for other in known):
                continue
            if not any(same_body(person.pose, other.pose) for other in newcomers):
                newcomers.append(person)
        return known + newcomers


def is_somebody(pose: Pose) -> bool:
    """Whether enough of a body is seen."""
    return np.isfinite(pose.body[:, 0]).sum() >= LEAST_POINTS


def same_body(one: Pose, other: Pose) -> bool:
    """Whether two poses are the same person, seen twice."""
    both = np.isfinite(one.body + other.body).all(axis=1)
    if not both.any():
        return False
    size = np.linalg.norm(np.nanmax(one.body, axis=0) - np.nanmin(one.body, axis=0))
    return np.median(np.linalg.norm(one.body - other.body, axis=1)[both]) < SAME_BODY * size


def same_place(one: Pose, other: Pose) -> bool:
    """Whether the bodies cover each other for the most part: rarely two people, and if they are,
    they will part.
    """
    boxes = [
        [*np.nanmin(pose.body, axis=0), *np.nanmax(pose.body, axis=0)] for pose in (one, other)
    ]
    return overlap(np.array(boxes[0]), np.array(boxes[1:]))[0] > SAME_PLACE


def set_neck(body: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the neck of body points (18, 2) between the shoulders, as sure as the less sure of
    them.
    """
    body[NECK], score[NECK] = body[SHOULDERS].mean(axis=0), score[SHOULDERS].min()
    return body, score


def pose_from_pixels(image: np.ndarray, body, hands, face) -> Pose:
    """A pose from (points, scores) of its three kinds, points in pixels of a picture. Points that
    are hardly sure are missing: NaN, with score 0.
    """
    fields: dict[str, np.ndarray] = {}
    for name, (points, scores) in {"body": body, "hands": hands, "face": face}.items():
        points = np.array(points, float) / image.shape[1::-1]
        scores = np.array(scores, float)
        unsure = scores < MIN_SCORE
        points[unsure], scores[unsure] = np.nan, 0
        fields |= {name: points, f"{name}_score": scores}
    return Pose(**fields)
