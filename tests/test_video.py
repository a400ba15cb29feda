"""Reading and writing of pictures and videos."""

import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from animate_anyone.media.images import fit_image, load_image, side_by_side, to_rgb
from animate_anyone.media.read import PackedFrames, read_video
from animate_anyone.media.write import write_gif, write_video


def moving_square(size=(64, 48), count=8) -> list[Image.Image]:
    frames = [Image.new("RGB", size, "navy") for _ in range(count)]
    for index, frame in enumerate(frames):
        frame.paste("orange", (4 * index, 10, 4 * index + 16, 30))
    return frames


def array(image) -> np.ndarray:
    return np.asarray(image, float)


@pytest.mark.parametrize("fps", [30, Fraction(30000, 1001), 12.5, 8])
def test_video_round_trip(tmp_path, fps):
    frames = moving_square()
    path = write_video(frames, tmp_path / "out.mp4", fps)
    video = read_video(path)
    assert video.fps == Fraction(fps)
    assert len(video.frames) == len(frames)
    for before, after in zip(frames, video.frames):
        assert np.abs(array(before) - array(after)).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_packed_frames_are_exact_copies_in_less_memory():
    frames = moving_square((256, 192))
    packed = PackedFrames(frames)
    assert len(packed) == len(frames) and all(map(np.array_equal, packed, frames))
    assert isinstance(packed[2:4], PackedFrames) and np.array_equal(packed[2:4][-1], frames[3])
    packed[0].paste("white", (0, 0, 9, 9))
    assert np.array_equal(packed[0], frames[0])
    assert sum(map(len, packed._packed)) < 0.05 * sum(len(frame.tobytes()) for frame in frames)


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (63, 47)])
def test_odd_sizes_are_extended_by_their_edge(tmp_path, size):
    path = write_video(moving_square(size), tmp_path / "out.mp4", 10)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)
    last = array(read_video(path).frames[-1])
    assert np.abs(last[:, -1] - last[:, -2]).mean() < 6
    assert np.abs(last[-1] - last[-2]).mean() < 6


def test_read_only_the_first_frames(tmp_path):
    path = write_video(moving_square(), tmp_path / "out.mp4", 10)
    assert len(read_video(path, 3).frames) == 3
    assert len(read_video(path, 99).frames) == 8


def test_frames_are_written_as_they_are_made(tmp_path):
    """They do not gather: a film of any length fits into memory."""
    made = []

    def making():
        for frame in iter(lambda: Image.new("RGB", (64, 48)), None):
            made.append(weakref.ref(frame))
            assert sum(reference() is not None for reference in made) <= 4
            if len(made) > 50:
                return
            yield frame
            del frame

    path = write_video(making(), tmp_path / "out.mp4", 10)
    assert len(read_video(path).frames) == 50


def test_frames_are_transformed_as_they_are_read(tmp_path):
    path = write_video(moving_square(), tmp_path / "out.mp4", 10)
    video = read_video(path, transform=lambda frame: frame.resize((16, 12)))
    assert [frame.size for frame in video.frames] == [(16, 12)] * 8


@pytest.mark.parametrize(("fps", "kept"), [(10, 8), (30, 8), (60, 4)])
def test_gif(tmp_path, fps, kept):
    path = write_gif(moving_square(), tmp_path / "out.gif", fps)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.info["loop"], gif.size) == (kept, 0, (64, 48))
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
        assert sum(durations) == pytest.approx(1000 * 8 / fps, abs=5)
        gif.seek(0)
        assert np.abs(array(gif.convert("RGB")) - array(moving_square()[0])).mean() < 4


def test_side_by_side():
    frames = moving_square(count=2)
    poses = [Image.new("RGB", (32, 24), colour) for colour in ("red", "lime", "blue")]
    rows = list(side_by_side(Image.new("RGB", (10, 10), "white"), poses, frames))
    assert [row.size for row in rows] == [(192, 48)] * 2
    assert [rows[1].getpixel((x, 5)) for x in (5, 70, 190)] == [
        (255, 255, 255),
        (0, 255, 0),
        (0, 0, 128),
    ]
    with pytest.raises(ValueError, match="expected a pose frame for every frame, got 1"):
        list(side_by_side(frames[0], poses[:1], frames))


def test_image_is_read_as_it_is_seen(tmp_path):
    """EXIF rotation applied, alpha on white, palettes and greys as RGB."""
    image = Image.new("RGB", (20, 10), "black")
    image.paste("red", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    turned = load_image(tmp_path / "turned.png")
    assert turned.size == (10, 20)
    assert turned.getpixel((5, 2)) == (255, 0, 0)

    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    half.save(tmp_path / "half.png")
    assert load_image(tmp_path / "half.png").getpixel((0, 0)) == (127, 127, 127)
    assert to_rgb(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)
    palette = Image.new("P", (2, 2), 0)
    palette.info["transparency"] = 0
    assert to_rgb(palette).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits():
    grey = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    assert to_rgb(grey).getpixel((0, 0)) == (128, 128, 128)
    with pytest.raises(ValueError, match="got Pillow mode F"):
        to_rgb(Image.new("F", (2, 2), 0.5))


def test_truncated_video(tmp_path, caplog):
    """The head is at the beginning: what follows it can be used."""
    path = write_video(moving_square(count=60), tmp_path / "out.mp4", 10)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.9 * len(content))])
    assert 30 < len(read_video(path).frames) < 60
    assert f"{path} breaks off after" in caplog.text
    path.write_bytes(content[: int(0.2 * len(content))])
    with pytest.raises(ValueError, match="is not a readable video"):
        read_video(path)


def test_fit_crops_instead_of_squashing():
    image = Image.new("RGB", (40, 20), "white")
    image.paste("black", (0, 0, 5, 20))
    fitted = fit_image(image, 16, 16)
    assert fitted.size == (16, 16)
    assert fitted.getpixel((8, 8)) == (255, 255, 255)
    assert fitted.getpixel((0, 8)) == (255, 255, 255)


def test_bad_files(tmp_path):
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.txt"
    empty.touch()
    text.write_text("not a video " * 100)  # FFmpeg would draw its letters
    for path in (empty, text):
        with pytest.raises(ValueError, match="is not a readable video"):
            read_video(path)
        with pytest.raises(ValueError, match="is not a readable image"):
            load_image(path)
    for read in (read_video, load_image):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read(tmp_path / "nothing")
        with pytest.raises(FileNotFoundError, match="is no file"):
            read(tmp_path)


def test_a_picture_of_absurd_size_is_refused(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="huge.png is not a readable image"):
        load_image(tmp_path / "huge.png")


def test_bad_frames_leave_no_file(tmp_path):
    frames = moving_square(count=2)
    for write, ending in ((write_video, "mp4"), (write_gif, "gif")):
        path = tmp_path / f"out.{ending}"
        with pytest.raises(ValueError, match="frames must be images, at least one, got none"):
            write([], path, 10)
        for fps in (0, -1, 1e-4, float("inf"), float("nan")):
            with pytest.raises(
                ValueError, match=f"fps must be at least 1/1001 and finite, got {fps}"
            ):
                write(frames, path, fps)
        with pytest.raises(ValueError, match="frames must share one size"):
            write([*frames, Image.new("RGB", (8, 8))], path, 10)
        with pytest.raises(FileNotFoundError, match="output folder"):
            write(frames, tmp_path / "nowhere" / path.name, 10)
        with pytest.raises(ValueError, match=f"output must end in .{ending}"):
            write(frames, tmp_path / "out", 10)
    assert not list(tmp_path.iterdir())
