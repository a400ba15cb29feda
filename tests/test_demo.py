"""The page's server, as its own client in the browser talks to it."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from zipfile import ZipFile

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from skimage.data import astronaut

from animate_anyone.base.config import GenerationConfig
from animate_anyone.cli import main
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.handlers import FILES, WORKERS, find, generate, resolve_size
from animate_anyone.media.images import fit_image, load_image
from animate_anyone.media.read import Video, read_video
from animate_anyone.media.write import write_gif, write_video
from animate_anyone.page import make_demo
from animate_anyone.pose.film import find_poses
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline

from conftest import POSE_WEIGHTS, ROOT, TOY, load_case

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
REFERENCE = TOY / "short" / "reference.png"
LONG = 1000  # steps that no test waits for


@pytest.fixture(scope="module")
def pose_video(tmp_path_factory):
    """10 pose maps, 48 × 64, at 25 frames per second."""
    return write_video(load_case("long")[2][:10], tmp_path_factory.mktemp("pose") / "walk.mp4", 25)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the server under test keeps its files."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def url(pipe, cache, pose_video):
    """Address of a page that runs while this module is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        demo = make_demo(pipe, [REFERENCE, pose_video, ROOT / "nothing.png"])
        _, url, _ = demo.launch(prevent_thread_lock=True, inline=False)
        yield url
        demo.close()


@pytest.fixture
def client(url, tmp_path):
    """A visitor of the page."""
    return Client(url, verbose=False, download_files=tmp_path)


@pytest.fixture
def settings(pose_video) -> dict:
    """Those of a run that takes a second."""
    return {
        "reference_image": handle_file(REFERENCE),
        "pose_video": handle_file(pose_video),
        "shape": "square",
        "longer_side": 64,
        "fit": "crop",
        "length": 4,
        "unit": "frames",
        "num_inference_steps": 3,
        "guidance_scale": 2.0,
        "seed": 7,
        "alignment": "automatic",
        "start": 0,
        "fps": None,
        "formats": ["webm", "PNG files"],
        "schedule": "open",
    }


@pytest.fixture
def calls(pipe, monkeypatch) -> list[float]:
    """The times at which the denoising network is called."""
    part, times = pipe.parts["denoising_unet"], []

    def counted(**inputs):
        times.append(time.monotonic())
        return part(**inputs)

    monkeypatch.setitem(pipe.parts, "denoising_unet", counted)
    counted.weight_bytes, counted.devices = part.weight_bytes, part.devices
    counted.precision = part.precision
    return times


def wait_until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_whole_run(client, pipe, settings, pose_video):
    """The frames are exactly what the pipeline makes of the same settings, as PNG and GIF show."""
    _, _, result, comparison, files, used, _ = client.predict(**settings, api_name="/generate")
    poses = [fit_image(pose, 64, 64) for pose in read_video(pose_video, 4).frames]
    frames = pipe(
        fit_image(load_image(REFERENCE), 64, 64),
        poses,
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(7),
    ).frames[0]
    expected = write_gif(frames, pose_video.with_name("expected.gif"), 25)
    mp4, side_by_side, gif, webm, png = map(Path, files["value"])
    assert all(map(np.array_equal, read_video(gif).frames, read_video(expected).frames))
    with ZipFile(png) as archive:
        kept = [Image.open(archive.open(name)) for name in archive.namelist()]
        assert len(kept) == 4 and all(map(np.array_equal, kept, frames))
    assert gif.name == "reference-walk-7.gif"
    assert mp4.name == Path(result["value"]).name == "reference-walk-7.mp4"
    assert (
        side_by_side.name == Path(comparison["value"]).name == "reference-walk-7-side-by-side.mp4"
    )
    for path, size in ((mp4, (64, 64)), (webm, (64, 64)), (side_by_side, (192, 64))):
        video = read_video(path)
        assert (video.frames[0].size, len(video.frames), video.fps) == (size, 4, 25)
    found = {"width": 64, "height": 64, "num_frames": 4, "fps": "25"}
    assert used == settings | found | {
        "reference_image": "reference.png",
        "pose_video": "walk.mp4",
    }


@pytest.fixture(scope="module")
def film_page(toy_models, tmp_path_factory):
    """A pipeline with a detector beside it, a film of somebody with two empty frames at its end,
    and what finds the poses, which counts the films that it looks at."""
    if not (POSE_WEIGHTS / "BlazePose").is_dir():
        pytest.skip("no BlazePose networks: `make test` fetches them")
    folder = tmp_path_factory.mktemp("film")
    models = shutil.copytree(toy_models, folder / "models")
    convert_pose_models(POSE_WEIGHTS, models)
    picture = Image.fromarray(astronaut())
    picture.save(folder / "somebody.png")
    pan = [picture.crop((8 * frame, 0, 400 + 8 * frame, 512)) for frame in range(4)]
    wall = Image.new("RGB", (400, 512), "silver")
    write_video([*pan, wall, wall], folder / "film.mp4", 25)
    write_video([wall] * 3, folder / "wall.mp4", 25)
    return OVAnimateAnyonePipeline.from_pretrained(models), folder


@pytest.fixture
def film_settings(settings, film_page) -> dict:
    files = {"reference_image": film_page[1] / "somebody.png"}
    return settings | files | {"pose_video": film_page[1] / "film.mp4", "length": 6}


def test_poses_of_a_film_are_shown_and_kept(film_page, film_settings, monkeypatch):
    pipe, _ = film_page
    searches = []

    def counted(*arguments, **options):
        searches.append(arguments[0])
        return find_poses(*arguments, **options)

    monkeypatch.setattr("animate_anyone.inputs.find_poses", counted)
    *_, (picture, status) = find(pipe, **film_settings)
    assert status == "Poses found in 6 frames; nobody is seen in frames 4–5."
    assert picture.value is not None or picture.constructor_args["value"] is not None
    for seed in (1, 2):
        *_, outputs = generate(pipe, **film_settings | {"seed": seed})
        assert outputs.status.startswith("Finished")
        assert outputs.settings["num_frames"] == 6
    assert len(searches) == 1


def test_a_film_without_anybody(film_page, film_settings):
    pipe, folder = film_page
    wall = film_settings | {"pose_video": folder / "wall.mp4"}
    for handler in (find, generate):
        with pytest.raises(gr.Error, match=r"wall\.mp4: somebody must be seen, got nobody"):
            list(handler(pipe, **wall))


def test_nothing_to_find_in_a_pose_video(film_page, film_settings, pose_video):
    with pytest.raises(gr.Error, match="shows skeletons already"):
        list(find(film_page[0], **film_settings | {"pose_video": pose_video}))


def test_a_closed_search_ends(film_page, film_settings, monkeypatch):
    """And the next one begins anew."""
    pipe, folder = film_page
    film = folder / "long.mp4"
    write_video(list(read_video(folder / "film.mp4", 4).frames) * 50, film, 25)
    search = find(pipe, **film_settings | {"pose_video": film, "length": 200})
    for _, status in search:
        if "frame" in str(status):
            break
    before = time.monotonic()
    search.close()
    assert time.monotonic() - before < 10


def test_progress_and_preview(client, settings):
    job = client.submit(**settings | {"num_inference_steps": 30}, api_name="/generate")
    assert job.result()[0].startswith("Finished in ")
    seen = job.outputs()
    assert any(status.startswith("Step ") and " min left" in status for status, *_ in seen)
    previews = [update["value"] for _, update, *_ in seen if update and "value" in update]
    assert previews
    assert Image.open(previews[0]).size == (400, 400)


def test_cancel_frees_the_machine(client, settings, calls):
    """No network call follows but the one under way; the next run is as whole as ever."""
    job = client.submit(**settings | {"num_inference_steps": LONG}, api_name="/generate")
    wait_until(lambda: len(calls) > 4)
    job.cancel()
    cancelled = len(calls)
    client.predict(**settings, api_name="/generate")
    assert len(calls) <= cancelled + 1 + 2 * settings["num_inference_steps"]


def test_closed_generator_stops_the_pipeline(pipe, settings, calls):
    """So it ends when a page is closed: Gradio closes the generator."""
    paths = {name: Path(settings[name]["path"]) for name in FILES}
    run = generate(pipe, **settings | paths | {"num_inference_steps": LONG})
    wait_until(lambda: next(run) and len(calls) > 4)
    run.close()
    WORKERS[pipe].submit(int).result(timeout=10)
    assert len(calls) < LONG


def test_one_run_at_a_time(client, url, settings, calls, tmp_path):
    """The second visitor is told a position in the queue, and comes next."""
    first = client.submit(**settings | {"num_inference_steps": LONG}, api_name="/generate")
    wait_until(lambda: calls)
    other = Client(url, verbose=False, download_files=tmp_path)
    second = other.submit(**settings, api_name="/generate")
    wait_until(lambda: second.status().rank == 0)
    assert not second.outputs()
    first.cancel()
    assert second.result()[0].startswith("Finished")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_image": None}, "The reference image is missing: upload one or click"),
        ({"pose_video": None}, "The video is missing: upload one or click"),
        ({"reference_image": "no.png"}, "no.png is not a readable image (cannot identify image"),
        ({"pose_video": "no.mp4"}, "no.mp4 is not a readable video"),
        ({"shape": "round"}, "shape must be one of ['square', 'portrait', 'landscape', "),
        ({"longer_side": 100}, "longer_side must be a multiple of 8, got 100"),
        ({"longer_side": 2048}, "longer_side must be at most 1024, got 2048"),
        ({"fit": "stretch"}, "fit must be one of ('crop', 'pad'), got 'stretch'"),
        ({"length": None}, "Length is empty, expected a number"),
        ({"length": 0}, "length in frames must be at least 1, got 0"),
        ({"length": 3.5}, "length in frames must be an integer, got float 3.5"),
        ({"length": 10, "unit": "seconds"}, "length must be at most 240 frames, got 250"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({"guidance_scale": -1}, "guidance_scale must be at least 0 and finite, got -1"),
        ({"seed": None}, "Seed is empty, expected a number"),
        ({"num_inference_steps": ""}, "Steps is empty, expected a number"),
        ({"num_inference_steps": "many"}, "Steps must be a number, got 'many'"),
        ({"guidance_scale": True}, "Guidance must be a number, got True"),
        ({"length": 1e308, "unit": "seconds"}, "length must be at most 240 frames"),
        ({"longer_side": [64]}, "A file must be uploaded in this page or be one of its examples"),
        ({"seed": 2**53}, f"seed must be an integer from 0 to 2**53 - 1, got {2**53}"),
    ],
)
def test_bad_input_is_told(client, settings, calls, cache, tmp_path, capfd, changes, message):
    """In one sentence, without a stack trace and without the server's folders."""
    for name, file in changes.items():
        if str(file).startswith("no."):
            (tmp_path / file).write_text("neither picture nor video")
            changes = {name: handle_file(tmp_path / file)}
    with pytest.raises(AppError) as error:
        client.predict(**settings | changes, api_name="/generate")
    assert message in str(error.value)
    assert str(cache) not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err
    assert not calls


def test_longer_than_the_video(client, settings):
    *_, used, _ = client.predict(
        **settings | {"length": 1, "unit": "seconds"}, api_name="/generate"
    )
    assert used["num_frames"] == 10


def test_a_single_frame_is_a_picture(client, settings):
    """It is shown as one, and can be fetched as PNG."""
    answer = client.predict(**settings | {"length": 1, "formats": []}, api_name="/generate")
    _, _, _, _, files, used, picture = answer
    assert used["num_frames"] == 1
    assert files["value"][-1].endswith("reference-walk-7.png")
    assert Image.open(files["value"][-1]).size == (64, 64)
    assert picture["visible"] is True


def test_numbers_may_come_as_text(client, settings):
    """As from scripts: they are taken for what they are."""
    texts = {"longer_side": "64", "length": 4.0, "num_inference_steps": "3", "seed": "7"}
    used = client.predict(**settings | texts, api_name="/generate")[-2]
    assert {name: used[name] for name in texts} == {
        "longer_side": 64,
        "length": 4,
        "num_inference_steps": 3,
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("pose video", (64, 128)),
        ("reference image", (128, 96)),
        ("square", (128, 128)),
        ("portrait", (96, 128)),
        ("landscape", (128, 96)),
    ],
)
def test_shapes(pipe, shape, size):
    reference, pose = Image.new("RGB", (400, 300)), Image.new("RGB", (200, 400))
    assert resolve_size(pipe, shape, 128, reference, Video([pose], 1)) == size


def test_recommended_shape(pipe, monkeypatch):
    """The model's own, or that of the pose video where it has none."""
    reference, pose = Image.new("RGB", (400, 300)), Image.new("RGB", (200, 400))
    inputs = "recommended", 96, reference, Video([pose], 1)
    assert resolve_size(pipe, *inputs) == (48, 96)
    own = GenerationConfig(width=128, height=64)
    monkeypatch.setattr(pipe, "generation_config", own)
    assert resolve_size(pipe, *inputs) == (96, 48)


def test_pictures_are_never_stretched():
    """A wide picture with a red middle: cropped to it, or whole between white bars."""
    wide = Image.new("RGB", (60, 20), "blue")
    wide.paste("red", (20, 0, 40, 20))
    cropped = fit_image(wide, 20, 20)
    assert cropped.getcolors() == [(400, (255, 0, 0))]
    padded = fit_image(wide, 60, 60, "pad")
    assert padded.crop((0, 20, 60, 40)).tobytes() == wide.tobytes()
    assert padded.getpixel((30, 5)) == (255, 255, 255)


def test_it_stays_on_this_machine(pipe, monkeypatch):
    """Even where Gradio would share by itself."""
    monkeypatch.setenv("GRADIO_SHARE", "True")
    demo = make_demo(pipe)
    demo.launch(prevent_thread_lock=True, inline=False)
    try:
        assert demo.server_name == "127.0.0.1"
        assert not demo.share and demo.share_url is None
        assert not demo.analytics_enabled
    finally:
        demo.close()


def test_files_go_with_the_page(pipe, settings, tmp_path, monkeypatch):
    """Uploads, previews and results: nothing is left when the page is closed."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    demo = make_demo(pipe)
    _, url, _ = demo.launch(prevent_thread_lock=True, inline=False)
    client = Client(url, verbose=False, download_files=tmp_path / "downloads")
    client.predict(**settings | {"num_inference_steps": 20}, api_name="/generate")
    files = {path for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert {".png", ".mp4", ".gif", ".webp"} <= {path.suffix for path in files}
    demo.close()
    assert not [path for path in files if path.exists()]


@pytest.mark.slow
def test_command(toy_models, settings, tmp_path):
    """`demo` serves the page, with examples, and ends on Ctrl+C even in the middle of a run."""
    command = [sys.executable, "-m", "animate_anyone", "demo", "--models", str(toy_models)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    killer = threading.Timer(180, server.kill)
    killer.start()
    try:
        url = server.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        config = json.loads(httpx.get(f"{url}config").text)
        labels = [part["props"].get("label") for part in config["components"]]
        assert "Example images" in labels and "Example videos" in labels
        client = Client(url, verbose=False, download_files=tmp_path)
        job = client.submit(**settings | {"num_inference_steps": LONG}, api_name="/generate")
        wait_until(lambda: any("Step" in status for status, *_ in job.outputs()))
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0
    finally:
        killer.cancel()
        server.kill()


def test_command_without_models(tmp_path, capsys):
    assert main(["demo", "--models", str(tmp_path)]) == 1
    assert "is no model folder" in capsys.readouterr().err
