"""`animate-anyone`, or `python -m animate_anyone`: download the weights and convert them once, then
animate, here or in a page in the browser.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from .base.streams import patient_streams

DESCRIPTION = "Animate a character from one reference image and a pose video, with OpenVINO."
DOWNLOAD = """Fetch the published weights from the Hugging Face Hub, about 10 GB, exactly the files
that convert needs. Files that are there are kept, an interrupted download is continued."""
CONVERT = """Convert the PyTorch weights, and the detectors of poses that lie beside them or alone,
to OpenVINO IR. This is done once; parts that are already converted and current are kept."""
ANIMATE = """Animate the character of a reference image with the movement of a pose video, and write
an mp4. By default it shows reference, pose and result side by side."""
PAGE = """Animate in a page in the browser: upload a reference image and a pose video, or click on
examples. The page is served to this machine alone; Ctrl+C ends it."""
# What allocators say, as OpenVINO and PyTorch pass it on.
OUT_OF_MEMORY = ("bad_alloc", "not enough memory", "can't allocate memory", "Failed to allocate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for bad input, 130 when interrupted."""
    with patient_streams():
        options = _parser().parse_args(arguments)
        logging.basicConfig(format="%(message)s")
        logging.getLogger(__package__).setLevel(logging.INFO)
        try:
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

    convert_pose_models(options.weights, options.models)
    if holds_only_pose_networks(options.weights):
        print(options.models)
        return
    calibration = _calibration(options) if options.reference or options.pose else None
    print(
        convert_models(
            options.weights, options.models, options.compression, calibration=calibration
        )
    )


def _calibration(options):
    from .calibrate import CALIBRATION_FRAMES, PipelineCalibration
    from .media.images import load_image
    from .media.read import read_video

    return PipelineCalibration(
        options.reference and load_image(options.reference),
        options.pose and read_video(options.pose, CALIBRATION_FRAMES).frames,
    )


def _animate(options) -> None:
    from .jobs import AnimationSettings, Output, animate, check_outputs
    from .run.pipeline import OVAnimateAnyonePipeline
    from .runtime import precision_config

    settings = AnimationSettings(
        reference=str(options.reference),
        pose=str(options.pose),
        outputs=(Output(str(options.output), options.only_result),),
        width=options.width,
        height=options.height,
        num_frames=options.frames,
        preset=options.preset,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        seed=options.seed,
        save_latents=options.save_latents,
        from_latents=options.from_latents,
    )
    check_outputs(settings)
    pipe = OVAnimateAnyonePipeline.from_pretrained(
        options.models, options.device, precision_config(options.precision)
    )
    for path in animate(pipe, settings):
        print(path)


def _page(options) -> None:
    from .page import make_demo
    from .run.pipeline import OVAnimateAnyonePipeline

    pipe = OVAnimateAnyonePipeline.from_pretrained(options.models, options.device)
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
    commands = parser.add_subparsers(required=True, metavar="download | convert | animate | page")
    _add_download(commands.add_parser("download", help="get the weights", description=DOWNLOAD))
    _add_convert(commands.add_parser("convert", help="weights → OpenVINO IR", description=CONVERT))
    _add_animate(commands.add_parser("animate", help="make a video", description=ANIMATE))
    _add_page(
        commands.add_parser("page", aliases=["demo"], help="do it in the browser", description=PAGE)
    )
    return parser


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_download)
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="DIR", help="where the weights are kept")
    add("--dry-run", action="store_true", help="only say what would be fetched and whether it fits")
    add(
        "--pose",
        choices=("blazepose", "dwpose"),
        help="fetch a detector of poses instead: blazepose, 36 MB through pip, is small and fast;"
        " dwpose, 351 MB from the Hub, is the one that the published weights learned from",
    )


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_convert)
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="DIR", help="the pretrained_weights folder")
    add("--models", type=Path, required=True, metavar="DIR", help="where the IRs are written")
    add(
        "--compression",
        choices=("none", "fp16", "int8", "int8-hybrid"),
        default="int8",
        help="how a weight is stored: in four bytes, in two or in one; int8-hybrid also computes"
        " in 8 bits where most of the time goes, and needs --reference and --pose"
        " (default: %(default)s)",
    )
    add("--reference", type=Path, metavar="IMG", help="int8-hybrid: a picture to calibrate on")
    add("--pose", type=Path, metavar="VIDEO", help="int8-hybrid: a pose video to calibrate on")


def _add_animate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_animate)
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder that convert wrote")
    add(
        "--reference",
        type=Path,
        required=True,
        metavar="IMG",
        help="picture of the character; cropped to the shape of the result where it differs",
    )
    add("--pose", type=Path, required=True, metavar="VIDEO", help="video of pose frames: skeletons")
    add(
        "--output",
        type=Path,
        required=True,
        metavar="OUT.mp4",
        help="the video to write, or a .gif",
    )
    add("--width", type=int, help="pixels, a multiple of 8 (default: see --height)")
    add(
        "--height",
        type=int,
        help="pixels, a multiple of 8; if only one of width and height is given, the other follows"
        " the shape of the pose video; if neither is, it is the model's own size, or that of the"
        " pose video where the model has none",
    )
    add("--frames", type=int, help="number of frames (default: the whole pose video)")
    _add_sampling(add)
    _add_device(add)
    add(
        "--precision",
        choices=("f32", "bf16", "auto"),
        default="auto",
        help="arithmetic of the networks; auto is the device's own choice (default: %(default)s)",
    )
    add("--only-result", action="store_true", help="do not show reference and pose beside it")
    add("--save-latents", metavar="FILE.npy", help="also keep the denoised latents")
    add(
        "--from-latents",
        metavar="FILE.npy",
        help="make the video from latents that were kept, without denoising",
    )


def _add_sampling(add) -> None:
    add(
        "--preset",
        choices=("quality", "balanced", "fast"),
        default="quality",
        help="how much time to spend: quality takes the recommended steps; balanced takes a half of"
        " them and fast a quarter, with UniPC and with guidance in the first ones only"
        " (default: %(default)s)",
    )
    add(
        "--steps",
        type=int,
        help="denoising steps (default: the preset's share of those that the model recommends,"
        " 30 for the published weights)",
    )
    add(
        "--guidance",
        type=float,
        help="how strongly the result follows the reference; 1 or less turns guidance off and"
        " halves the time (default: as the model recommends, 3.5 for the published weights)",
    )
    add("--seed", type=int, default=0, help="same seed, same video (default: %(default)s)")


def _add_device(add) -> None:
    add(
        "--device",
        nargs="+",
        default=["CPU"],
        help="CPU, GPU, GPU.1, AUTO, …; several share the windows of a long video (default: CPU)",
    )


def _add_page(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_page)
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder that convert wrote")
    _add_device(add)
    add("--port", type=int, help="where the page is served (default: the first free one from 7860)")
