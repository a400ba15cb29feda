"""`animate-anyone`, or `python -m animate_anyone`: download the weights and convert them once, then
animate, here or in a page in the browser.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files

from . import options as option_lists
from .base.streams import patient_streams

DESCRIPTION = "Animate a character from one reference image and a pose video, with OpenVINO."
DOWNLOAD = """Fetch the published weights from the Hugging Face Hub, about 10 GB, exactly the files
that convert needs. Files that are there are kept, an interrupted download is continued."""
CONVERT = """Convert the PyTorch weights, and the detectors of poses that lie beside them or alone,
to OpenVINO IR. This is done once; parts that are already converted and current are kept."""
POSE = """Find the poses of somebody in a film, fit them to the character of a reference image, and
write them as a pose video, as a file of keypoints that other tools read, or both."""
ANIMATE = """Animate the character of a reference image with the movement of a film or of a pose
video, and write an mp4. By default it shows reference, pose and result side by side."""
PAGE = """Animate in a page in the browser: upload a reference image and a film, or click on
examples. The page is served to this machine alone; Ctrl+C ends it."""
# Settings of an animation → options, by another name and by the same.
RENAMED = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "context_schedule": "schedule",
}
SAME = (
    *("width", "height", "fit", "preset", "seed", "context_frames", "context_overlap"),
    *("save_latents", "from_latents", "save_settings"),
)
# What allocators say, as OpenVINO and PyTorch pass it on.
OUT_OF_MEMORY = ("bad_alloc", "not enough memory", "can't allocate memory", "Failed to allocate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for bad input, 130 when interrupted."""
    with patient_streams():
        options = _parser().parse_args(arguments)
        if options.quiet:
            os.environ["TQDM_DISABLE"] = "1"  # before its first import
        from tqdm.contrib.logging import logging_redirect_tqdm

        logging.basicConfig(format="%(message)s")
        level = "error" if options.quiet else options.log_level
        logging.getLogger(__package__).setLevel(level.upper())
        try:
            with logging_redirect_tqdm():  # lines go above a bar and not into it
                options.run(options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except Exception as error:
            sentence = explain(error)
            if sentence is None:
                raise
            print(f"error: {sentence}", file=sys.stderr)
            return 1
    return 0


def explain(error: Exception) -> str | None:
    """What a person should be told, None where it is a fault of ours."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY):
        return "memory is too short: use a smaller width and height or fewer frames"
    return str(error) if isinstance(error, ValueError | OSError | FloatingPointError) else None


def _download(options) -> None:
    from .fetch.download import download_weights
    from .fetch.poses import download_pose

    if options.pose is None:
        print(download_weights(options.weights, options.dry_run))
    else:
        print(download_pose(options.weights, options.pose, options.dry_run))


def _convert(options) -> None:
    from .convert.convert import convert_models
    from .convert.poses import convert_pose_models, holds_only_pose_networks

    if not holds_only_pose_networks(options.weights):
        calibration = _calibration(options) if options.reference or options.pose else None
        convert_models(
            options.weights, options.models, options.compression, calibration=calibration
        )
    convert_pose_models(options.weights, options.models)
    print(options.models)


def _calibration(options):
    from .calibrate import CALIBRATION_FRAMES, PipelineCalibration
    from .media.images import load_image
    from .media.read import read_video

    return PipelineCalibration(
        options.reference and load_image(options.reference),
        options.pose and read_video(options.pose, CALIBRATION_FRAMES).frames,
    )


def _pose(options) -> None:
    from .base.files import check_output
    from .inputs import make_poses, sound_of
    from .jobs import write_poses
    from .media.write import WRITERS
    from .settings import PoseSettings, check_apart

    settings = PoseSettings(**_pose_settings(options))
    if settings.pose is not None and not settings.holds_keypoints:
        raise ValueError(f"--pose must be a .json file of keypoints, got {settings.pose}")
    outputs = {"output": list(WRITERS), "keypoints": [".json"]}
    outputs = {name: kinds for name, kinds in outputs.items() if getattr(options, name) is not None}
    if not outputs:
        raise ValueError("--output or --keypoints must be given, got none")
    inputs = [settings.driver, settings.reference, settings.reference_keypoints]
    check_apart(inputs, [str(getattr(options, name)) for name in outputs])
    for name, endings in outputs.items():
        check_output(getattr(options, name), endings)
    sequence = make_poses(settings, options.models)
    for path in write_poses(sequence, options.output, options.keypoints, sound_of(settings)):
        print(path)


def _pose_settings(options) -> dict:
    """The options that `pose` and `animate` share, those that are given."""
    paths = {name: getattr(options, name) for name in ("video", "pose", "reference")}
    paths["reference_keypoints"] = options.reference_keypoints
    given: dict = {name: None if path is None else str(path) for name, path in paths.items()}
    given |= {"alignment": options.align, "num_frames": options.frames}
    for name in ("person", "detector", "start", "duration", "fps"):
        given[name] = getattr(options, name)
    given["audio"] = False if options.no_audio else None
    return {name: value for name, value in given.items() if value is not None}


def _animate(options) -> None:
    from .base.files import check_output
    from .jobs import animate, check_outputs
    from .preview import preview_file
    from .record import read_record, warn_of_changes
    from .run.pipeline import OVAnimateAnyonePipeline
    from .runtime import precision_config

    record = {} if options.settings is None else read_record(options.settings)
    settings = _animation_settings(options, record.get("settings", {}))
    check_outputs(settings)
    if options.preview is not None:
        check_output(options.preview, [".png"])
    pipe = OVAnimateAnyonePipeline.from_pretrained(
        options.models,
        options.device or record.get("devices", "CPU"),
        precision_config(options.precision or record.get("precision", "auto")),
    )
    if record:
        warn_of_changes(record, pipe, settings)
    preview = None if options.preview is None else preview_file(options.preview)
    for path in animate(pipe, settings, preview):
        print(path)


def _animation_settings(options, kept: dict):
    """Those that are given, and for the rest those that were kept."""
    from .settings import AnimationSettings, Output

    given = _pose_settings(options)
    for name, option in RENAMED.items():
        given[name] = getattr(options, option)
    for name in SAME:
        given[name] = getattr(options, name)
    given = {name: value for name, value in given.items() if value is not None}
    if given.keys() & {"video", "pose"}:
        kept = kept | {"video": None, "pose": None}
    if "from_latents" in given:
        kept = kept | {"save_latents": None}
    values = {"outputs": ()} | kept | given
    outputs = [Output(**output) for output in values["outputs"]]
    if options.output is not None:
        outputs = [Output(str(options.output))]
    driver = values.get("video") or values.get("pose")
    if options.only_result or not (values.get("reference") and driver):
        outputs = [Output(output.path, only_result=True) for output in outputs]
    return AnimationSettings(**values | {"outputs": tuple(outputs)})


def _page(options) -> None:
    from .page import make_demo
    from .run.pipeline import OVAnimateAnyonePipeline

    pipe = OVAnimateAnyonePipeline.from_pretrained(options.models, options.device or "CPU")
    with as_file(files("demo_model") / "examples") as folder:
        demo = make_demo(pipe, folder.iterdir())
    _, url, _ = demo.launch(
        server_name="127.0.0.1", server_port=options.port, prevent_thread_lock=True
    )
    print(url, flush=True)
    demo.block_thread()
    pipe.interrupt()  # the process ends when the run has


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="animate-anyone", description=DESCRIPTION)
    names = "download | convert | pose | animate | page"
    commands = parser.add_subparsers(required=True, metavar=names)

    def add(name: str, run, help: str, description: str, **more) -> None:
        command = commands.add_parser(name, help=help, description=description, **more)
        command.set_defaults(run=run)
        getattr(option_lists, f"add_{name}")(command)
        option_lists.add_output_level(command)

    add("download", _download, "get the weights", DOWNLOAD)
    add("convert", _convert, "weights → OpenVINO IR", CONVERT)
    add("pose", _pose, "film → pose frames", POSE)
    add("animate", _animate, "make a video", ANIMATE)
    add("page", _page, "do it in the browser", PAGE, aliases=["demo"])
    return parser
