"""Detectors of poses: how people are followed, which detector is opened, and BlazePose against what
MediaPipe itself finds."""

import math

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from animate_anyone.pose.blazepose import cut
from animate_anyone.pose.boxes import groups, overlap
from animate_anyone.pose.crop import DOWN, RIGHT, UP, Crop
from animate_anyone.pose.detect import open_detector
from animate_anyone.pose.detector import LOOK_AROUND, PoseDetector, Sighting, pose_from_pixels
from benchmarks.poses import GOLDEN, compare, decode, read

from conftest import ROOT

FILM = ROOT.parent / "shared" / "media" / "film.mp4"
SIZE = (80, 40)


@pytest.fixture(scope="module")
def blazepose(blazepose_models):
    return open_detector(blazepose_models, "blazepose")


class Dots(PoseDetector):
    """Takes every bright pixel of a picture for a person; counts how often it searches."""

    def __init__(self):
        self.searches = 0

    def find(self, image):
        self.searches += 1
        return [
            Crop(np.array([x, y]), np.array([9, 9])) for y, x in np.argwhere(image[..., 0] > 128)
        ]

    def look(self, image, crop):
        x, y = crop.centre.astype(int)
        window = image[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5, 0]
        if window.max() < 128:
            return None
        row, column = np.unravel_index(window.argmax(), window.shape)
        place = np.array([column + max(x - 4, 0), row + max(y - 4, 0)])
        body = place + np.linspace([-3, -4], [3, 4], 18)
        missing = np.zeros((2, 21, 2)), np.zeros((2, 21))
        face = np.zeros((68, 2)), np.zeros(68)
        pose = pose_from_pixels(image, (body, np.ones(18)), missing, face)
        return Sighting(pose, Crop(place, crop.size))


def frame(*people) -> Image.Image:
    """A picture with a bright pixel per person."""
    picture = np.zeros((*SIZE[::-1], 3), np.uint8)
    for x, y in people:
        picture[y, x] = 150 + x
    return Image.fromarray(picture)


def middles(people) -> list[tuple[int, int]]:
    """Where people are, in pixels."""
    return [tuple(np.rint(pose.body.mean(axis=0) * SIZE).astype(int).tolist()) for pose in people]


def test_a_film_is_searched_only_where_somebody_is_lost():
    detector = Dots()
    walk = [(10 + 3 * step, 20) for step in range(LOOK_AROUND)]
    seen = [middles(people) for people in detector.follow(map(frame, walk))]
    assert seen == [[place] for place in walk]
    assert detector.searches == 1


def test_who_jumps_is_found_again():
    detector = Dots()
    places = [(10, 20), (11, 20), (60, 10), (61, 10)]
    assert [middles(people) for people in detector.follow(map(frame, places))] == [
        [place] for place in places
    ]
    assert detector.searches == 2


def test_nobody_then_somebody():
    detector = Dots()
    films = [frame(), frame(), frame((5, 5)), frame()]
    assert [middles(people) for people in detector.follow(films)] == [[], [], [(5, 5)], []]
    assert detector.searches == 4


def test_newcomers_are_seen_and_those_who_are_known_stay_first():
    films = [frame((60, 20))] * 3 + [frame((20, 20), (60, 20))] * LOOK_AROUND
    seen = [middles(people) for people in Dots().follow(films)]
    assert seen[2] == [(60, 20)]
    assert seen[-1] == [(60, 20), (20, 20)]
    assert max(map(len, seen)) == 2


def test_two_crops_of_one_person_are_one():
    """Both crops see the brighter pixel."""
    assert middles(Dots()(frame((20, 20), (22, 20)))) == [(22, 20)]


def test_films_are_streams():
    """A frame is asked for only when the people of the last one were taken."""
    asked = []

    def frames():
        for x in range(20):
            asked.append(x)
            yield frame((x, 20))

    people = Dots().follow(frames())
    next(people), next(people)
    assert asked == [0, 1]


def test_pictures_of_other_modes():
    grey = frame((20, 20)).convert("L")
    assert middles(Dots()(grey)) == [(20, 20)]
    clear = frame().convert("RGBA")
    clear.putpixel((30, 10), (0, 0, 0, 0))  # white when shown
    assert middles(Dots()(clear)) == [(30, 10)]


def test_unsure_points_are_missing():
    image = np.zeros((10, 20, 3), np.uint8)
    scores = np.linspace(0, 1, 18)
    hands, face = (
        (np.ones((2, 21, 2)), np.full((2, 21), 0.29)),
        (np.ones((68, 2)), np.full(68, 0.3)),
    )
    pose = pose_from_pixels(image, (np.full((18, 2), 5.0), scores), hands, face)
    assert np.array_equal(np.isnan(pose.body[:, 0]), scores < 0.3)
    assert np.array_equal(pose.body_score, np.where(scores < 0.3, 0, scores))
    assert np.allclose(pose.body[-1], [0.25, 0.5])
    assert np.isnan(pose.hands).all()
    assert not pose.hands_score.any()
    assert np.isfinite(pose.face).all()


@pytest.mark.parametrize(("target", "edge"), [(RIGHT, [9, 5]), (UP, [5, 1]), (DOWN, [5, 9])])
def test_a_crop_that_is_turned_by_nothing(target, edge):
    """The edge lies where it should already."""
    crop = Crop.about(np.array([5.0, 5.0]), np.array(edge, float), target)
    assert crop.angle % (2 * math.pi) == pytest.approx(0)
    assert crop.size.tolist() == [8, 8]


def test_crops_lead_back_to_the_picture():
    """A bright pixel is found in the crop where the crop says that it is."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[120, 150] = 255
    crop = Crop(np.array([140.0, 115.0]), np.array([64.0, 64.0]), angle=0.5)
    row, column = np.unravel_index(cut(image, crop, 128)[..., 0].argmax(), (128, 128))
    assert crop.place(np.array([[column, row]]) / 128)[0] == pytest.approx([150, 120], abs=0.5)
    moved = crop.grown(2, shift=-0.25)
    assert moved.size.tolist() == [128, 128]
    up = np.array([math.sin(0.5), -math.cos(0.5)])
    assert moved.centre == pytest.approx(crop.centre + 16 * up)


def test_boxes_are_grouped_by_their_overlap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [3, 3, 3, 3]], float)
    assert overlap(boxes[0], boxes) == pytest.approx([1, 90 / 110, 0, 0])
    found = groups(boxes, np.array([0.5, 0.9, 0.7, 0.6]), 0.3)
    assert [group.tolist() for group in found] == [[1, 0], [2], [3]]
    assert groups(boxes[:0], np.zeros(0), 0.3) == []


def test_no_detector_names_the_commands(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        open_detector(tmp_path)
    assert "no pose detector" in str(error.value)
    assert "download --pose blazepose --weights DIR" in str(error.value)
    assert f"convert --weights DIR --models {tmp_path}" in str(error.value)
    with pytest.raises(FileNotFoundError, match="no dwpose detector: .* --pose dwpose "):
        open_detector(tmp_path, "dwpose")
    with pytest.raises(ValueError, match="detector must be one of .*, got 'openpose'"):
        open_detector(tmp_path, "openpose")


def test_networks_that_changed_are_refused(blazepose_models, tmp_path):
    for path in blazepose_models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = bytearray((tmp_path / "blazepose_hand.bin").read_bytes())
    changed[1000] ^= 1
    (tmp_path / "blazepose_hand.bin").write_bytes(changed)
    with pytest.raises(ValueError, match="blazepose_hand.* is not what convert wrote"):
        open_detector(tmp_path)
    with pytest.raises(ValueError, match="device 'TPU' does not exist here"):
        open_detector(blazepose_models, device="TPU")


def assert_like_mediapipe(result: dict) -> None:
    """The bounds are far below what is asked for: 1 % and 3 % of the person's height for the body,
    2 % for hands, 0.5 % for the face."""
    assert result["missed"] == 0
    assert result["found"] == result["wanted"]
    assert np.median(result["body"]) < 0.0005
    assert np.percentile(result["body"], 95) < 0.002
    assert result["wanted"] == 0 or np.median(result["hands"]) < 0.002
    assert np.median(result["face"]) < 0.0005


def test_astronaut_like_mediapipe(blazepose):
    picture = Image.fromarray(astronaut())
    (golden,) = read(GOLDEN / "astronaut.json")
    people = blazepose(picture)
    assert len(people) == 1
    assert_like_mediapipe(compare([(people, golden)]))


def test_several_people(blazepose):
    """The astronaut twice, side by side."""
    one, wall = astronaut()[:, :400], np.full((512, 200, 3), 200, np.uint8)
    people = blazepose(Image.fromarray(np.concatenate([one, wall, one], axis=1)))
    left, right = sorted((pose.body * [1000, 512] for pose in people), key=lambda body: body[0, 0])
    seen = [0, 1, 2, 5, 14, 15]  # nose, neck, shoulders, eyes
    assert right[seen] - [600, 0] == pytest.approx(left[seen], abs=10)


@pytest.mark.parametrize("size", [(16, 16), (16, 4000), (4000, 16)])
def test_nobody_in_odd_sizes(blazepose, size):
    assert blazepose(Image.new("RGB", size, "grey")) == []


@pytest.mark.skipif(not FILM.exists(), reason=f"the film is not part of the repository: no {FILM}")
def test_film_like_mediapipe(blazepose):
    golden = {entry["frame"]: entry for entry in read(GOLDEN / "film.json")}
    frames = ((golden.get(number), picture) for number, picture in enumerate(decode(FILM)))
    pairs = [(blazepose(picture), entry) for entry, picture in frames if entry]
    assert all(len(people) == 1 for people, _ in pairs)
    assert_like_mediapipe(compare(pairs))


@pytest.mark.skipif(not FILM.exists(), reason=f"the film is not part of the repository: no {FILM}")
def test_the_dancer_is_never_lost(blazepose):
    """Followed through the film, the body is where it is found without a memory."""
    frames = list(decode(FILM))[:60]
    followed = list(blazepose.follow(frames))
    assert [len(people) for people in followed] == [1] * len(frames)
    for number in range(0, 60, 12):
        (alone,) = blazepose(frames[number])
        apart = np.linalg.norm(followed[number][0].body - alone.body, axis=1)
        assert np.nanmedian(apart) < 0.01
