"""Files as phones, browsers and editors make them: turned, uneven, transparent, loud, in colour."""

import json
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from animate_anyone.base.excerpt import Excerpt
from animate_anyone.cli import main
from animate_anyone.inputs import told_cut
from animate_anyone.media.images import fit_image, load_image
from animate_anyone.media.read import open_film, read_video
from animate_anyone.media.sound import find_sound
from animate_anyone.media.timing import at_constant_rate, usual_rate
from animate_anyone.media.upright import turned
from animate_anyone.media.write import write_frames, write_video
from animate_anyone.pose.keypoints import Pose
from benchmarks import fuzz

from conftest import TOY, load_case

SIZE = 64, 48
RED, GREEN, WHITE = (220, 40, 30), (20, 90, 40), (250, 250, 250)
REFERENCE = TOY / "short" / "reference.png"


def marked(index: int = 0, size=SIZE) -> Image.Image:
    """A picture whose upper left corner is red; a white bar moves from left to right."""
    picture = Image.new("RGB", size, GREEN)
    picture.paste(RED, (0, 0, 16, 16))
    picture.paste(WHITE, (index % size[0], 32, index % size[0] + 8, 44))
    return picture


def make(
    path,
    times,
    *,
    base=Fraction(1, 1000),
    codec="libx264",
    sound=0.0,
    aspect=None,
    rate=30,
    pictures=(),
):
    """A film whose frames begin at these times in seconds; `sound` is how long it is heard."""
    pictures = pictures or [marked(index) for index in range(len(times))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, "yuv420p"
        stream.codec_context.time_base = stream.time_base = base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        audio = container.add_stream("aac" if codec == "libx264" else "libopus", rate=48000)
        for time, picture in zip(times, pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            write_tone(container, audio, sound)
    return path


def write_tone(container, stream, seconds: float) -> None:
    samples = np.arange(round(48000 * seconds))
    tone = (8000 * np.sin(samples * 440 * 2 * np.pi / 48000)).astype(np.int16)
    fifo = av.AudioResampler(stream.format, stream.layout, 48000, frame_size=960)
    frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = 48000, 0
    for part in (*fifo.resample(frame), *fifo.resample(None)):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def with_matrix(path, matrix) -> None:
    """Write a display matrix into the track header of an mp4, as phones do."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * value for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def bar(picture) -> int:
    """Which frame of `make` a picture is, by where its bar stands."""
    row = np.asarray(picture, int)[38, :, 0]
    return int(np.argmax(row > 150)) if (row > 150).any() else -1


def near(pixel, colour, tolerance=16) -> bool:
    return np.abs(np.subtract(pixel, colour)).max() <= tolerance


# Turned and mirrored

QUARTERS = {
    "upright": (1, 0, 0, 1),
    "quarter": (0, 1, -1, 0),
    "half": (-1, 0, 0, -1),
    "three quarters": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored quarter": (0, 1, 1, 0),
}
CORNERS = {  # where the red corner of a frame is seen after the turn
    "upright": "upper left",
    "quarter": "upper right",
    "half": "lower right",
    "three quarters": "lower left",
    "mirrored": "upper right",
    "mirrored quarter": "upper left",
}


@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize("turn", QUARTERS)
def test_a_film_is_upright(tmp_path, turn, ending):
    path = make(tmp_path / f"film.{ending}", [0, 0.1, 0.2])
    with_matrix(path, QUARTERS[turn])
    picture = read_video(path).frames[0]
    assert picture.size == (SIZE[::-1] if "quarter" in turn else SIZE)
    width, height = picture.size
    places = {
        f"{row} {side}": (x, y)
        for row, y in (("upper", 6), ("lower", height - 7))
        for side, x in (("left", 6), ("right", width - 7))
    }
    for place, at in places.items():
        assert near(picture.getpixel(at), RED) == (place == CORNERS[turn]), place


def test_angles_between_quarters_are_rounded():
    picture = marked()
    assert turned(picture, (64000, 9000, -9000, 64000)).getpixel((3, 3)) == RED
    assert turned(picture, None) is picture


def test_all_films_are_upright_where_they_are_read(tmp_path):
    """Also where only its look is asked for."""
    path = make(tmp_path / "film.mp4", [0, 0.1, 0.2])
    with_matrix(path, QUARTERS["quarter"])
    with open_film(path) as film:
        assert film.size == SIZE[::-1] == next(film.frames).size


@pytest.mark.parametrize(
    ("aspect", "size"),
    [(Fraction(2), (128, 48)), (Fraction(1, 2), (64, 96)), (Fraction(9999), SIZE)],
)
def test_pixels_are_square(tmp_path, aspect, size):
    """A ratio that no camera has is a broken header."""
    assert read_video(make(tmp_path / "film.mp4", [0, 0.1], aspect=aspect)).frames[0].size == size


# Uneven

PAUSE = [index / 30 for index in range(10)] + [1.5 + index / 30 for index in range(20)]


@pytest.mark.parametrize(
    ("name", "codec", "base"),
    [
        ("film.mp4", "libx264", Fraction(1, 15360)),
        ("film.mkv", "libx264", Fraction(1, 1000)),
        ("film.webm", "libvpx", Fraction(1, 1000)),
    ],
)
def test_a_pause_stays_as_long(tmp_path, name, codec, base):
    """Ten frames, 1.2 seconds without any, twenty more: at 30 frames a second, not at the average,
    and each event within half a frame of when it was."""
    video = read_video(make(tmp_path / name, PAUSE, codec=codec, base=base))
    assert video.fps == 30
    assert len(video.frames) == pytest.approx(65, abs=1)
    shown = [bar(frame) for frame in video.frames]
    for index, time in enumerate(PAUSE):
        assert abs(shown.index(index) / 30 - time) <= 0.5 / 30 + 1e-6
    assert shown.count(9) == pytest.approx(36, abs=1)


def test_a_recording_of_a_browser(tmp_path):
    """Its clock ticks in milliseconds, and no rate is told: 30 frames a second, not 1000."""
    times = [round(index / 30, 3) for index in range(60)]
    path = make(tmp_path / "film.webm", times, codec="libvpx", rate=1000)
    video = read_video(path)
    assert video.fps == 30
    assert len(video.frames) == pytest.approx(60, abs=1)


@pytest.mark.parametrize(
    ("times", "told", "rate"),
    [
        ([index / 24 for index in range(9)], (), 24),
        ([round(index * 1.001 / 30, 3) for index in range(250)], (), Fraction(30000, 1001)),
        ([index * 0.08 for index in range(9)], (Fraction(25, 2),), Fraction(25, 2)),
        ([index * 0.04 for index in (0, 2, 1, 4, 3)], (Fraction(1000),), 25),
        ([0.0], (None, Fraction(10)), 10),
        ([], (), None),
        ([0, 0, 0], (), None),
        ([0, 0.41, 0.82], (), Fraction(100, 41)),
        ([0, 0.1, 1.1], (), 10),  # no interval is near the middle of two
    ],
)
def test_usual_rate(times, told, rate):
    assert usual_rate(times, told) == rate


@pytest.mark.parametrize(("own", "wanted"), [(60, 30), (50, 25), (30, 12), (24, 30), (25, 25)])
def test_another_rate_keeps_the_duration(own, wanted):
    timed = [(index / own, 1 / own, index) for index in range(2 * own)]
    shown = list(at_constant_rate(timed, Fraction(wanted), 0.0))
    assert len(shown) == 2 * wanted
    begins = {index: shown.index(index) / wanted for index in shown}
    assert all(abs(index / own - begin) <= 0.51 / wanted for index, begin in begins.items())


def test_part_of_a_film(tmp_path, caplog):
    caplog.set_level("INFO")
    path = make(tmp_path / "film.mp4", [index / 60 for index in range(240)], rate=60)
    video = read_video(path, excerpt=Excerpt(start=1, duration=0.5, fps=20))
    assert (video.fps, len(video.frames)) == (20, 10)
    assert [bar(frame) for frame in video.frames][:3] == [61, 0, 3]  # the bar wraps at 64
    with pytest.raises(ValueError, match=r"start must be before the end of .*lasts 4\.00 s.*got 9"):
        read_video(path, excerpt=Excerpt(start=9))


def test_far_in_is_sought_and_not_decoded(tmp_path, monkeypatch):
    """Of a long film only what follows the key frame before the start is decoded."""
    path = make(tmp_path / "film.mp4", [index / 10 for index in range(600)], rate=10)
    decoded = []
    monkeypatch.setattr(
        "animate_anyone.media.read.to_picture",
        lambda frame, *_: decoded.append(float(frame.time)) or frame.to_image(),
    )
    video = read_video(path, 3, excerpt=Excerpt(start=50))
    assert [bar(frame) for frame in video.frames] == [500 % 64, 501 % 64, 502 % 64]
    assert decoded[0] == pytest.approx(50)


def test_joined_films_go_on(tmp_path):
    """The clock of the second one begins anew."""
    path = make(tmp_path / "film.ts", [index / 10 for index in range(20)], rate=10)
    (tmp_path / "both.ts").write_bytes(2 * path.read_bytes())
    assert len(read_video(tmp_path / "both.ts").frames) == pytest.approx(40, abs=2)


def test_the_last_moment_is_the_last_frame(tmp_path):
    path = make(tmp_path / "film.mp4", [index / 10 for index in range(20)], rate=10)
    [last] = read_video(path, excerpt=Excerpt(start=1.99)).frames
    assert bar(last) == 19
    assert len(read_video(path, excerpt=Excerpt(fps=0.01)).frames) == 1


def test_a_cover_is_no_film(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48000), 0.5)
    with pytest.raises(ValueError, match="no video stream"):
        read_video(path)


@pytest.mark.parametrize(
    "values", [{"start": -1}, {"start": float("nan")}, {"duration": 0}, {"fps": 0}, {"fps": 1e9}]
)
def test_parts_that_cannot_be(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be .*, got"):
        Excerpt(**values)


# Transparent


def clear_with_green(count: int = 3) -> list[Image.Image]:
    """Transparent, with green hidden below and a red corner that is opaque."""
    picture = Image.new("RGBA", SIZE, (*GREEN, 0))
    picture.paste((*RED, 255), (0, 0, 16, 16))
    return [picture] * count


def make_transparent(path):
    frames = clear_with_green()
    if path.suffix in (".gif", ".png"):
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=2)
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuva420p"
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgba")
            container.mux(stream.encode(frame.reformat(format="yuva420p")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["film.webm", "film.gif", "film.png"])
def test_what_is_hidden_does_not_show(tmp_path, name):
    path = make_transparent(tmp_path / name)
    for background, colour in (("black", (0, 0, 0)), ("white", (255, 255, 255))):
        picture = read_video(path, 1, background=background).frames[0]
        assert near(picture.getpixel((5, 5)), RED, 24)
        assert near(picture.getpixel((50, 40)), colour)


# Colours


def display_p3() -> bytes:
    """A profile with wider primaries than sRGB's, made as its standard says."""
    from PIL.ImageCms import ImageCmsProfile, createProfile

    profile = bytearray(ImageCmsProfile(createProfile("sRGB")).tobytes())
    xyz = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.2919, 0.6922, 0.0419),
        b"bXYZ": (0.1571, 0.0666, 0.7841),
    }
    for index in range(struct.unpack(">I", profile[128:132])[0]):
        tag, offset, _ = struct.unpack(">4sII", profile[132 + 12 * index : 144 + 12 * index])
        if tag in xyz:
            values = (round(65536 * value) for value in xyz[tag])
            profile[offset + 8 : offset + 20] = struct.pack(">3i", *values)
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_pictures_come_in_their_colours(tmp_path, mode):
    """By their profile: a half red of Display P3 is a stronger one in sRGB."""
    picture = Image.new("RGB", (8, 8), (180, 60, 60))
    picture = picture.quantize() if mode == "P" else picture.convert(mode)
    path = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    if mode in ("L", "CMYK"):  # the profile is for other channels: it cannot be used
        picture.save(path, icc_profile=display_p3())
        assert load_image(path).getpixel((4, 4)) == picture.convert("RGB").getpixel((4, 4))
        return
    picture.save(path, icc_profile=display_p3())
    red, green, blue = load_image(path).getpixel((4, 4))
    assert red > 190 and green < 50 and abs(blue - 57) < 8


def test_a_broken_profile_does_not_cost_the_picture(tmp_path):
    Image.new("RGB", (8, 8), RED).save(tmp_path / "photo.png", icc_profile=b"no profile")
    assert load_image(tmp_path / "photo.png").getpixel((4, 4)) == RED


@pytest.mark.parametrize("ending", ["heic", "avif"])
def test_photos_of_phones(tmp_path, ending):
    import pillow_heif

    path = tmp_path / f"photo.{ending}"
    if ending == "heic":
        pillow_heif.from_pillow(marked()).save(path, quality=95)
    else:
        marked().save(path, quality=95)
    assert np.abs(np.subtract(load_image(path), marked(), dtype=float)).mean() < 4


def test_a_written_film_keeps_its_colours(tmp_path):
    """Tagged as BT.709 with limited range, and a patch of each colour comes back."""
    patches = [(200, 40, 90), (10, 200, 120), (60, 60, 230), (128, 128, 128), (250, 240, 10)]
    for ending in ("mp4", "webm"):
        frames = [Image.new("RGB", SIZE, colour) for colour in patches]
        path = write_video(frames, tmp_path / f"out.{ending}", 10)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            assert (frame.colorspace, frame.color_range) == (1, 1)
            assert (frame.color_primaries, frame.color_trc) == (1, 1)
        for colour, picture in zip(patches, read_video(path).frames, strict=True):
            assert near(picture.getpixel((30, 20)), colour, 2), ending


def test_a_player_can_begin_before_it_has_all(tmp_path):
    content = write_video([marked()] * 3, tmp_path / "out.mp4", 10).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


# Loud


def heard(path) -> tuple[float, float]:
    """When the first and the last sound is, in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
    return frames[0].time, frames[-1].time + frames[-1].samples / frames[-1].sample_rate


@pytest.mark.parametrize("source", ["film.mp4", "film.mkv", "film.webm"])
@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_sound_is_kept(tmp_path, source, ending):
    codec = "libvpx" if source.endswith("webm") else "libx264"
    path = make(tmp_path / source, [index / 10 for index in range(20)], sound=2.0, codec=codec)
    video = read_video(path)
    out = tmp_path / f"out.{ending}"
    write_video(video.frames, out, video.fps, sound=find_sound(path))
    assert heard(path)[1] == pytest.approx(2, abs=0.05)
    assert heard(out) == pytest.approx(heard(path), abs=0.05)


def test_only_the_matching_stretch_is_heard(tmp_path):
    path = make(tmp_path / "film.mp4", [index / 10 for index in range(20)], sound=1.5)
    excerpt = Excerpt(start=1, duration=0.8)
    video = read_video(path, excerpt=excerpt)
    out = write_video(video.frames, tmp_path / "o.mp4", 10, sound=find_sound(path, excerpt))
    assert heard(out)[1] == pytest.approx(0.5, abs=0.05)
    short = write_video(video.frames[:3], tmp_path / "s.mp4", 10, sound=find_sound(path, excerpt))
    assert heard(short)[1] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(("codec", "ending"), [("ac3", "mp4"), ("pcm_s16le", "webm")])
def test_encoded_sound_stays_where_it_was(tmp_path, codec, ending):
    """It begins half a second after the picture and has a gap; its clock ticks in milliseconds."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream(codec, rate=48000, layout="stereo")
        for index in range(30):
            container.mux(video.encode(av.VideoFrame.from_image(marked(index))))
        container.mux(video.encode(None))
        for start in (0.5, 2.0):  # a tone of half a second each
            for offset in range(0, 24000, 1536):
                times = np.arange(offset, offset + 1536) / 48000
                tone = (12000 * np.sin(880 * np.pi * times)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(
                    np.repeat(tone, 2)[None], format="s16", layout="stereo"
                )
                frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
                frame.pts = round(48000 * start) + offset
                for part in av.AudioResampler(audio.format, audio.layout, 48000).resample(frame):
                    container.mux(audio.encode(part))
        container.mux(audio.encode(None))
    out = tmp_path / f"out.{ending}"
    write_video([marked()] * 30, out, 10, sound=find_sound(path))
    with av.open(str(out)) as container:
        loud = [
            frame.time
            for frame in container.decode(container.streams.audio[0])
            if np.abs(frame.to_ndarray().astype(float)).max() > 0.05
        ]
    assert min(loud) == pytest.approx(0.5, abs=0.06)
    assert min(time for time in loud if time > 1.5) == pytest.approx(2.0, abs=0.06)
    assert max(loud) == pytest.approx(2.5, abs=0.09)


def test_silent_films_stay_silent(tmp_path):
    path = write_video([marked()] * 3, tmp_path / "film.mp4", 10)
    assert find_sound(path) is None


def test_broken_sound_does_not_cost_the_film(tmp_path, caplog):
    path = make(tmp_path / "film.mp4", [index / 10 for index in range(20)], sound=2.0)
    sound, content = find_sound(path), path.read_bytes()
    for damaged in (b"", content[: len(content) // 2]):
        path.write_bytes(damaged)
        out = write_video([marked()] * 20, tmp_path / "out.mp4", 10, sound=sound)
        assert len(read_video(out).frames) == 20
        assert f"the sound of {path} " in caplog.text
        caplog.clear()


# Fitted


def standing(top: float, bottom: float) -> Pose:
    body = np.full((18, 2), -1.0)
    body[[0, 14, 15]], body[[10, 13]] = (0.5, top), (0.5, bottom)
    return Pose(body, np.ones(18), np.full((2, 21, 2), -1.0), np.full((68, 2), -1.0))


def test_what_is_cut_off_is_said(caplog):
    caplog.set_level("INFO")
    told_cut("me.png", (100, 100), (50, 50), "crop")
    told_cut("me.png", (100, 200), (50, 50), "pad")
    assert not caplog.records
    told_cut("me.png", (100, 200), (50, 50), "crop", standing(0.3, 0.7))
    [said] = caplog.messages
    assert said == "me.png: 50 % of 100x200 are cut off for 50x50; --fit pad keeps all of it"
    told_cut("me.png", (100, 200), (50, 50), "crop", standing(0.1, 0.9))
    assert caplog.messages[-1] == "me.png loses the head and feet: --fit pad keeps all of it"
    box = fit_image(marked(size=(100, 200)), 50, 50)
    assert near(box.getpixel((2, 2)), GREEN)  # the red corner is above what is kept


# From the command line


@pytest.fixture(scope="module")
def pose_video(tmp_path_factory):
    """Ten pose maps at 20 frames a second with half a second of sound; in two of them nobody is."""
    folder = tmp_path_factory.mktemp("pose")
    poses = load_case("long")[2][:10]
    poses[3:5] = [Image.new("RGB", poses[0].size)] * 2
    silent = write_video(poses, folder / "silent.mp4", 20)
    tone = make(folder / "tone.mp4", [0, 0.1], sound=0.5)
    frames = read_video(silent).frames
    return write_video(frames, folder / "pose.mp4", 20, sound=find_sound(tone))


def animate(models, pose, output, *more) -> list[str]:
    size = ["--width", "48", "--height", "64", "--steps", "1", "--precision", "f32"]
    inputs = ["--models", models, "--reference", REFERENCE, "--pose", pose, "--output", output]
    return [str(word) for word in ["animate", *inputs, *size, *more]]


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.gif", "out.zip", "out"])
def test_outputs(toy_models, pose_video, tmp_path, name, caplog):
    output = tmp_path / name
    assert main(animate(toy_models, pose_video, output, "--frames", "6")) == 0
    assert f"{pose_video}: nobody is seen in frames 3–4" in caplog.text
    if name == "out":
        assert max(path.name for path in output.iterdir()) == "00006.png"
        assert Image.open(output / "00001.png").size == (144, 64)
    elif name != "out.zip":
        video = read_video(output)
        assert (len(video.frames), video.fps) == (6, 20)
        assert video.frames[0].size == (144, 64)
    if name in ("out.mp4", "out.webm"):
        assert heard(output)[1] == pytest.approx(0.3, abs=0.05)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_without_sound(toy_models, pose_video, tmp_path):
    more = ["--frames", "2", "--no-audio"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more)) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_fewer_frames_a_second(toy_models, pose_video, tmp_path):
    more = ["--fps", "10", "--start", "0.2", "--duration", "0.3"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more)) == 0
    video = read_video(tmp_path / "out.mp4")
    assert (len(video.frames), video.fps) == (3, 10)


def test_from_latents_alone(toy_models, pose_video, tmp_path):
    """No reference and no poses: the result at a rate, or at that of a film and with its sound."""
    kept = tmp_path / "kept.npy"
    more = ["--frames", "4", "--only-result", "--save-latents", kept]
    assert main(animate(toy_models, pose_video, tmp_path / "whole.mp4", *more)) == 0
    base = ["animate", "--models", toy_models, "--precision", "f32", "--from-latents", kept]
    for name, more in {"a.mp4": ["--fps", "20"], "b.mp4": ["--pose", pose_video]}.items():
        command = [*base, "--output", tmp_path / name, *more]
        assert main([str(word) for word in command]) == 0
        pictures = [read_video(tmp_path / each).frames for each in (name, "whole.mp4")]
        assert all(map(np.array_equal, *pictures))
    assert heard(tmp_path / "b.mp4")[1] == pytest.approx(0.2, abs=0.05)


def test_from_latents_needs_a_rate(toy_models, tmp_path, capsys):
    np.save(tmp_path / "kept.npy", np.zeros((1, 4, 2, 8, 6), np.float32))
    command = ["animate", "--models", toy_models, "--output", tmp_path / "o.mp4", "--from-latents"]
    assert main([str(word) for word in [*command, tmp_path / "kept.npy"]]) == 1
    assert "error: fps must be given where there is neither a film" in capsys.readouterr().err


def test_settings_make_the_same_again(toy_models, pose_video, tmp_path, caplog):
    """The same latents; the mp4 says what it was made from, without folders."""
    settings, first, second = (tmp_path / name for name in ("s.json", "1.npy", "2.npy"))
    more = ["--frames", "2", "--seed", "7", "--guidance", "2", "--save-settings", settings]
    command = animate(toy_models, pose_video, tmp_path / "out.mp4", *more)
    assert main([*command, "--save-latents", str(first)]) == 0
    before = (tmp_path / "out.mp4").read_bytes()
    again = ["animate", "--models", toy_models, "--settings", settings, "--save-latents", second]
    assert main([str(word) for word in again]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert "since the settings were kept" not in caplog.text
    assert len((tmp_path / "out.mp4").read_bytes()) == pytest.approx(len(before), abs=50)
    with av.open(str(tmp_path / "out.mp4")) as container:
        note = json.loads(container.metadata["comment"])
    assert note["settings"]["seed"] == 7 and note["settings"]["pose"] == pose_video.name
    assert len(note["models"]) == 64 and len(note["inputs"]["reference"]) == 64
    assert str(tmp_path) not in json.dumps(note)


def test_settings_tell_what_has_changed(toy_models, pose_video, tmp_path, caplog):
    pose, settings = tmp_path / "pose.mp4", tmp_path / "s.json"
    pose.write_bytes(pose_video.read_bytes())
    more = ["--frames", "1", "--save-settings", settings]
    assert main(animate(toy_models, pose, tmp_path / "out.mp4", *more)) == 0
    write_video(read_video(pose).frames[1:], pose, 20)
    record = json.loads(settings.read_text()) | {"models": "0" * 64}
    settings.write_text(json.dumps(record))
    command = ["animate", "--models", toy_models, "--settings", settings, "--seed", "1"]
    assert main([str(word) for word in command]) == 0
    assert f"{pose} has changed since the settings were kept" in caplog.text
    assert f"the settings were kept with {'0' * 64}" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "inputs": {}, "settings": []}']
)
def test_settings_that_are_none(toy_models, tmp_path, capsys, content):
    path = tmp_path / "s.json"
    path.write_text(content)
    assert main(["animate", "--models", str(toy_models), "--settings", str(path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {path}")


def test_a_folder_that_holds_files_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(ValueError, match="out must be new or empty, it holds files"):
        write_frames([marked()], tmp_path / "out", 10)
    (tmp_path / "out" / "precious").unlink()
    assert write_frames([marked()], tmp_path / "out", 10) == tmp_path / "out"
    assert np.array_equal(Image.open(tmp_path / "out" / "00001.png"), marked())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", fuzz.READERS)
def test_damaged_files(tmp_path, kind):
    """Each ends in a result or in one sentence; `benchmarks/fuzz.py` tries more of them."""
    whole = fuzz.make_whole(tmp_path)[kind]
    outcomes, bad = fuzz.fuzz(kind, whole, 20, tmp_path, fuzz.judge)
    assert len(outcomes) == 20 and not bad
