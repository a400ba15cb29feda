"""The options of the command line."""

import argparse
from pathlib import Path

from .base.layout import ALIGNMENTS, DETECTORS, SCHEDULES


def add_download(parser: argparse.ArgumentParser) -> None:
    """The options of `download`."""
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="DIR", help="where the weights are kept")
    add("--dry-run", action="store_true", help="only say what would be fetched and whether it fits")
    add(
        "--pose",
        choices=("blazepose", "dwpose"),
        help="fetch a detector of poses instead: blazepose, 36 MB through pip, is small and fast;"
        " dwpose, 351 MB from the Hub, is the one that the published weights learned from",
    )


def add_convert(parser: argparse.ArgumentParser) -> None:
    """The options of `convert`."""
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


def add_pose(parser: argparse.ArgumentParser) -> None:
    """The options of `pose`."""
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR", help="folder that convert wrote the detector to")
    source = parser.add_mutually_exclusive_group(required=True).add_argument
    source("--video", type=Path, metavar="FILM", help="a film of somebody moving")
    source("--pose", type=Path, metavar="POSES.json", help="keypoints that are fitted anew")
    add(
        "--output",
        type=Path,
        metavar="POSES.mp4",
        help="the pose video to write: .mp4, .webm, .gif, or a folder for PNG files",
    )
    add("--keypoints", type=Path, metavar="POSES.json", help="the file of keypoints to write")
    add("--reference", type=Path, metavar="IMG", help="picture of the character to fit to")
    _add_excerpt(add)
    _add_fit(add)


def _add_excerpt(add) -> None:
    add("--start", type=float, metavar="SECONDS", help="where in the film to begin (default: 0)")
    add("--duration", type=float, metavar="SECONDS", help="how much of it (default: to its end)")
    add(
        "--fps",
        type=float,
        metavar="N",
        help="frames per second; fewer take less time, the movement stays as fast (default: as many"
        " as the film has)",
    )
    add("--frames", type=int, help="number of frames (default: all)")
    add("--no-audio", action="store_true", help="do not keep the film's sound")


def _add_fit(add) -> None:
    add(
        "--align",
        choices=ALIGNMENTS,
        help="how the poses are fitted to the character: global changes size and place, limbs also"
        " the length of each limb (default: limbs where film and reference show enough of both"
        " bodies, else global)",
    )
    add(
        "--reference-keypoints",
        type=Path,
        metavar="REF.json",
        help="the pose in the reference, where no detector finds it",
    )
    add(
        "--person",
        type=int,
        metavar="N",
        help="the N-th from the left in the first frame (default: the largest and surest)",
    )
    add(
        "--detector",
        choices=DETECTORS,
        help="what finds the poses (default: dwpose where it is converted, else blazepose)",
    )


def add_animate(parser: argparse.ArgumentParser) -> None:
    """The options of `animate`. None of those that `--settings` may give has a default here."""
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder that convert wrote")
    add("--reference", type=Path, metavar="IMG", help="picture of the character")
    source = parser.add_mutually_exclusive_group().add_argument
    source("--video", type=Path, metavar="FILM", help="film of somebody moving")
    source(
        "--pose",
        type=Path,
        metavar="POSES",
        help="instead of a film: a video of pose frames (skeletons), or a .json of keypoints",
    )
    add(
        "--output",
        type=Path,
        metavar="OUT.mp4",
        help="what to write: .mp4, .webm, .gif, .png for one frame, or without an ending a folder"
        " of PNG files",
    )
    add("--width", type=int, help="pixels, a multiple of 8 (default: see --height)")
    add(
        "--height",
        type=int,
        help="pixels, a multiple of 8; if only one of width and height is given, the other follows"
        " the shape of the poses; if neither is, it is the model's own size, or that of the poses"
        " where the model has none",
    )
    add(
        "--fit",
        choices=("crop", "pad"),
        help="pictures of another shape than the result: crop cuts off what does not fit, pad adds"
        " bars (default: crop)",
    )
    _add_excerpt(add)
    _add_fit(add)
    _add_sampling(add)
    _add_windows(add)
    _add_device(add)
    add(
        "--precision",
        choices=("f32", "bf16", "auto"),
        help="arithmetic of the networks; auto is the device's own choice (default: auto)",
    )
    _add_kept(add)


def _add_kept(add) -> None:
    add("--only-result", action="store_true", help="do not show reference and pose beside it")
    add(
        "--preview",
        type=Path,
        metavar="FILE.png",
        help="keep a picture up to date that shows how far it is: the middle frame, as it will be",
    )
    add("--save-latents", metavar="FILE.npy", help="also keep the denoised latents")
    add(
        "--from-latents",
        metavar="FILE.npy",
        help="make the video from latents that were kept, without denoising; --output and --fps, or"
        " a film, are enough then",
    )
    add("--save-settings", metavar="FILE.json", help="also keep all settings")
    add(
        "--settings",
        type=Path,
        metavar="FILE.json",
        help="take what is not given from settings that were kept",
    )


def _add_sampling(add) -> None:
    add(
        "--preset",
        choices=("quality", "balanced", "fast"),
        help="how much time to spend: quality takes the recommended steps; balanced takes a half of"
        " them and fast a quarter, with UniPC and with guidance in the first ones only"
        " (default: quality)",
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
    add("--seed", type=int, help="same seed, same video (default: 0)")


def _add_windows(add) -> None:
    add(
        "--schedule",
        choices=SCHEDULES,
        help="how windows of frames cover a long video: loop for one that is to loop, uniform as"
        " the original does (default: open, with a beginning and an end)",
    )
    add("--context-frames", type=int, metavar="N", help="frames of a window (default: 24)")
    add("--context-overlap", type=int, metavar="N", help="frames that two share (default: 4)")


def _add_device(add) -> None:
    add(
        "--device",
        nargs="+",
        help="CPU, GPU, GPU.1, AUTO, …; several share the windows of a long video (default: CPU)",
    )


def add_page(parser: argparse.ArgumentParser) -> None:
    """The options of `page`."""
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder that convert wrote")
    _add_device(add)
    add("--port", type=int, help="where the page is served (default: the first free one from 7860)")


def add_output_level(parser: argparse.ArgumentParser) -> None:
    """How much a command says; all of them have it."""
    add = parser.add_mutually_exclusive_group().add_argument
    add("--quiet", action="store_true", help="only results and errors, no bars")
    add(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="how much is told (default: %(default)s)",
    )
