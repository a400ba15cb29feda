"""Everything the notebook uses, under one name."""

import animate_anyone
from animate_anyone import *
from animate_anyone.inputs import inputs_of, read_inputs
from animate_anyone.jobs import make_latents, write_outputs
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

__all__ = [  # noqa: PLE0604
    *animate_anyone.__all__,
    "choice_widget",
    "compare_parts",
    "draw_data_flow",
    "feature_pictures",
    "inputs_of",
    "make_latents",
    "print_ports",
    "read_inputs",
    "relative_difference",
    "strip",
    "timing_table",
    "write_outputs",
]
