"""Animate a character from one reference image and a pose video, with OpenVINO.

Public names are imported when they are asked for, and with them only the libraries that they need.
"""

import importlib

_PUBLIC = {
    "base.excerpt": ("Excerpt",),
    "base.layout": ("PART_NAMES",),
    "calibrate": ("PipelineCalibration",),
    "convert.checkpoints": ("load_part",),
    "convert.convert": ("convert_models",),
    "convert.poses": ("convert_pose_models",),
    "convert.ports": ("part_ports",),
    "fetch.download": ("download_weights",),
    "fetch.poses": ("download_pose",),
    "inputs": ("make_poses",),
    "jobs": ("animate",),
    "media.images": ("fit_image", "load_image", "overlay", "side_by_side"),
    "media.read": ("Video", "read_video"),
    "media.sound": ("Sound", "find_sound"),
    "media.write": ("write_frames", "write_gif", "write_video"),
    "page": ("make_demo",),
    "pose.align": ("align_poses",),
    "pose.detect": ("open_detector",),
    "pose.draw": ("draw_pose",),
    "pose.film": ("draw_poses", "find_pose", "find_poses", "read_pose", "read_poses"),
    "pose.keypoints": ("Pose", "PoseSequence"),
    "pose.keypoints_file": ("write_keypoints",),
    "run.decode": ("AnimateAnyoneOutput",),
    "run.pipeline": ("OVAnimateAnyonePipeline",),
    "run.turns": ("Busy", "Interrupted"),
    "run.windows": ("context_schedule", "count_windows"),
    "runtime": ("precision_config",),
    "settings": ("AnimationSettings", "Output", "PoseSettings"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
