"""`python -m animate_anyone`: download the weights and convert them once, then animate, here or in a
page in the browser."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = "Animate a character from one reference image and a pose video, with OpenVINO."
DOWNLOAD = """Fetch the published weights from the Hugging Face Hub, about 10 GB, exactly the files that
convert needs. Files that are there are kept, an interrupted download is continued."""
CONVERT = """Convert the PyTorch weights to OpenVINO IR. This is done once; parts that are already
converted and current are kept."""
ANIMATE = """Animate the character of a reference image with the movement of a pose video, and write
an mp4. By default it shows reference, pose and result side by side."""
DEMO = """Animate in a page in the browser: upload a reference image and a pose video, or click on
examples. The page is served to this machine alone; Ctrl+C ends it."""
EXAMPLES = Path(__file__).resolve().parents[1] / "demo_model" / "examples"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for bad input, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger(__package__).setLevel(logging.INFO)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _download(options) -> None:
    from .download import download_weights

    print(download_weights(options.weights, options.dry_run))


def _convert(options) -> None:
    from .convert import convert_models
    from .quantize import FRAMES
    from .video import load_image, read_video

    pictures = {}
    if options.reference is not None:
        pictures["reference_image"] = load_image(options.reference)
    if options.pose is not None:
        pictures["pose_images"] = read_video(options.pose, FRAMES).frames
    print(convert_models(options.weights, options.models, options.compression, **pictures))


def _animate(options) -> None:
    import numpy as np
    import torch

    from .pipeline import OVAnimateAnyonePipeline
    from .runtime import precision_config
    from .video import (
        check_output,
        fit_image,
        load_image,
        read_video,
        replacing,
        side_by_side,
        write_video,
    )

    check_output(options.output, ".mp4")
    if options.save_latents:
        check_output(options.save_latents, ".npy")
    if options.output.resolve() in (options.reference.resolve(), options.pose.resolve()):
        raise ValueError(f"output would overwrite the input {options.output}")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1, got {options.seed}")
    reference, first_pose = load_image(options.reference), read_video(options.pose, 1).frames
    pipe = OVAnimateAnyonePipeline.from_pretrained(
        options.models, options.device, precision_config(options.precision)
    )
    size = pipe.resolve_size(first_pose, options.width, options.height)
    reference = fit_image(reference, *size)
    pose = read_video(options.pose, options.frames, lambda frame: fit_image(frame, *size))
    latents = pipe(
        reference,
        pose.frames,
        num_frames=options.frames,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        preset=options.preset,
        generator=torch.Generator().manual_seed(options.seed),
        output_type="latent",
    ).frames
    if options.save_latents:
        with replacing(options.save_latents) as partial, partial.open("wb") as file:
            np.save(file, latents.numpy())
    frames = pipe.decode_frames(latents)
    shown = frames if options.only_result else side_by_side(reference, pose.frames, frames)
    print(write_video(shown, options.output, pose.fps))


def _demo(options) -> None:
    from .demo import make_demo
    from .pipeline import OVAnimateAnyonePipeline

    pipe = OVAnimateAnyonePipeline.from_pretrained(options.models, options.device)
    demo = make_demo(pipe, EXAMPLES.glob("*"))
    _, url, _ = demo.launch(
        server_name="127.0.0.1", server_port=options.port, prevent_thread_lock=True
    )
    print(url, flush=True)
    demo.block_thread()
    pipe.interrupt()  # the process ends when the run has


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m animate_anyone", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="download | convert | animate | demo")
    _add_download(commands.add_parser("download", help="get the weights", description=DOWNLOAD))
    _add_convert(commands.add_parser("convert", help="weights → OpenVINO IR", description=CONVERT))
    _add_animate(commands.add_parser("animate", help="make a video", description=ANIMATE))
    _add_demo(commands.add_parser("demo", help="do it in the browser", description=DEMO))
    return parser


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_download)
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="DIR", help="where the weights are kept")
    add("--dry-run", action="store_true", help="only say what would be fetched and whether it fits")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_convert)
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="DIR", help="the pretrained_weights folder")
    add("--models", type=Path, required=True, metavar="DIR", help="where the IRs are written")
    add(
        "--compression",
        choices=("none", "fp16", "int8", "int8-hybrid"),
        default="int8",
        help="how a weight is stored: in four bytes, in two or in one; int8-hybrid also computes in"
        " 8 bits where most of the time goes, and needs --reference and --pose (default: %(default)s)",
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
    add("--output", type=Path, required=True, metavar="OUT.mp4", help="the video to write")
    add("--width", type=int, help="pixels, a multiple of 8 (default: see --height)")
    add(
        "--height",
        type=int,
        help="pixels, a multiple of 8; of width and height one alone gives the other the pose video's"
        " shape, none at all means the model's own size, or the pose video's where it has none",
    )
    add("--frames", type=int, help="number of frames (default: the whole pose video)")
    add(
        "--preset",
        choices=("quality", "balanced", "fast"),
        default="quality",
        help="how much time to spend: quality takes the recommended steps, balanced a half of them and"
        " fast a quarter, with UniPC, and guidance in the first ones only (default: %(default)s)",
    )
    add(
        "--steps",
        type=int,
        help="denoising steps (default: the preset's share of those that the model recommends, 30 for"
        " the published weights)",
    )
    add(
        "--guidance",
        type=float,
        help="how strongly the result follows the reference; 1 or less turns guidance off and"
        " halves the time (default: as the model recommends, 3.5 for the published weights)",
    )
    add("--seed", type=int, default=0, help="same seed, same video (default: %(default)s)")
    _add_device(add)
    add(
        "--precision",
        choices=("f32", "bf16", "auto"),
        default="auto",
        help="arithmetic of the networks; auto is the device's own choice (default: %(default)s)",
    )
    add("--only-result", action="store_true", help="do not show reference and pose beside it")
    add("--save-latents", type=Path, metavar="FILE.npy", help="also keep the denoised latents")


def _add_device(add) -> None:
    add(
        "--device",
        nargs="+",
        default=["CPU"],
        help="CPU, GPU, GPU.1, AUTO, …; several share the windows of a long video (default: CPU)",
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_demo)
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder that convert wrote")
    _add_device(add)
    add("--port", type=int, help="where the page is served (default: the first free one from 7860)")
