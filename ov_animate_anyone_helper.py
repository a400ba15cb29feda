"""Everything the notebook uses, under one name."""

from animate_anyone.config import PART_NAMES
from animate_anyone.convert import convert_models, part_ports
from animate_anyone.demo import make_demo
from animate_anyone.download import download_weights
from animate_anyone.notebook import (
    choice_widget,
    compare_parts,
    draw_data_flow,
    feature_pictures,
    print_ports,
    relative_difference,
    strip,
    timing_table,
)
from animate_anyone.pipeline import AnimateAnyoneOutput, Interrupted, OVAnimateAnyonePipeline
from animate_anyone.runtime import precision_config
from animate_anyone.video import (
    Video,
    fit_image,
    load_image,
    read_video,
    side_by_side,
    write_gif,
    write_video,
)
from animate_anyone.weights import load_part

__all__ = [
    "PART_NAMES",
    "AnimateAnyoneOutput",
    "Interrupted",
    "OVAnimateAnyonePipeline",
    "Video",
    "choice_widget",
    "compare_parts",
    "convert_models",
    "download_weights",
    "draw_data_flow",
    "feature_pictures",
    "fit_image",
    "load_image",
    "load_part",
    "make_demo",
    "part_ports",
    "precision_config",
    "print_ports",
    "read_video",
    "relative_difference",
    "side_by_side",
    "strip",
    "timing_table",
    "write_gif",
    "write_video",
]
