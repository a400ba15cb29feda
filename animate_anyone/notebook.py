"""What the notebook shows on its way: ports, tables, pictures of what is inside, the data flow."""

from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import openvino as ov
import torch
from IPython.display import SVG, Markdown
from PIL import Image

from .base.manifest import read_manifest
from .base.tables import table
from .convert.checkpoints import load_part
from .convert.ports import part_ports
from .run.pipeline import OVAnimateAnyonePipeline
from .runtime import OVPart, precision_config

# The boxes of the data flow: text, column, row, and whether it is a network.
BOXES = {
    "reference": ("reference image", 0, 0, False),
    "image_encoder": ("image encoder", 1, 0, True),
    "vae_encoder": ("VAE encoder", 1, 1, True),
    "reference_unet": ("reference UNet", 2, 1, True),
    "poses": ("pose frames", 0, 2, False),
    "pose_guider": ("pose guider", 1, 2, True),
    "noise": ("noise", 1, 3, False),
    "denoising_unet": ("denoising UNet", 3, 2, True),
    "vae_decoder": ("VAE decoder", 4, 2, True),
    "frames": ("frames", 5, 2, False),
}
ARROWS = (
    ("reference", "image_encoder", ""),
    ("reference", "vae_encoder", ""),
    ("vae_encoder", "reference_unet", "latent"),
    ("image_encoder", "reference_unet", ""),
    ("image_encoder", "denoising_unet", "embedding"),
    ("reference_unet", "denoising_unet", "features"),
    ("poses", "pose_guider", ""),
    ("pose_guider", "denoising_unet", "pose features"),
    ("noise", "denoising_unet", "latents, every step"),
    ("denoising_unet", "vae_decoder", "latents"),
    ("vae_decoder", "frames", ""),
)


def choice_widget(description: str, options: Sequence[str], value: str) -> ipywidgets.Dropdown:
    """A drop-down list; `.value` is what is chosen."""
    return ipywidgets.Dropdown(description=description, options=list(options), value=value)


def draw_data_flow() -> SVG:
    """The six networks and what passes between them."""
    step, row, width, height = 178, 62, 124, 34
    place = {
        key: (20 + step * column, 16 + row * line) for key, (_, column, line, _) in BOXES.items()
    }
    parts = []
    for source, target, label in ARROWS:
        (x0, y0), (x1, y1) = place[source], place[target]
        x0, y0, y1 = x0 + width, y0 + height // 2, y1 + height // 2
        middle = (x0 + x1) / 2
        parts.append(
            f'<path d="M{x0} {y0} C{middle} {y0} {middle} {y1} {x1 - 4} {y1}" fill="none"'
            ' stroke="#777" marker-end="url(#tip)"/>'
        )
        parts.append(f'<text x="{x0 + 6}" y="{y0 - 5}" font-size="10" fill="#555">{label}</text>')
    for key, (text, _, _, network) in BOXES.items():
        x, y = place[key]
        colour = "#d9e8fb" if network else "#f4f0e4"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{colour}"'
            f' stroke="#889"/><text x="{x + width / 2}" y="{y + height / 2 + 4}" font-size="12"'
            f' fill="#222" text-anchor="middle">{text}</text>'
        )
    tip = '<marker id="tip" markerWidth="7" markerHeight="7" refX="5" refY="3" orient="auto">'
    return SVG(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1050 260" width="100%"'
        f' font-family="sans-serif"><rect width="1050" height="260" fill="white"/><defs>{tip}'
        f'<path d="M0 0 L6 3 L0 6 z" fill="#777"/></marker></defs>{"".join(parts)}</svg>'
    )


def print_ports(model_dir, *names: str) -> None:
    """Inputs and outputs of converted parts; a question mark is a size that stays open."""
    for name in names:
        model = ov.Core().read_model(Path(model_dir) / f"{name}.xml")
        for word, ports in (("in", model.inputs), ("out", model.outputs)):
            for port in ports:
                sizes = ["?" if size.is_dynamic else str(size) for size in port.partial_shape]
                print(f"{name:15}{word:>4}  {port.get_any_name():48}[{','.join(sizes)}]")


def compare_parts(model_dir, differences: dict[str, float]) -> Markdown:
    """A table of the size of each IR's weights before and after compression, and of how far its
    answers are from PyTorch's, as `relative_difference` found.
    """
    rows = []
    parts = read_manifest(model_dir)["parts"]
    for name, difference in differences.items():
        before, after = parts[name]["float32_bytes"], parts[name]["files"][f"{name}.bin"]["bytes"]
        rows.append((name, f"{before / 1e6:.1f}", f"{after / 1e6:.1f}", f"{difference:.2%}"))
    return Markdown(table(["part", "float32, MB", "IR, MB", "difference"], rows))


@torch.no_grad()
def relative_difference(name: str, weights_dir, model_dir) -> float:
    """Root mean square of IR minus PyTorch over that of PyTorch, on random inputs, in float32."""
    module = load_part(name, Path(weights_dir))
    rng = torch.Generator().manual_seed(0)
    example = part_ports(name, module).example
    inputs = {key: torch.randn(value.shape, generator=rng) for key, value in example.items()}
    if "timestep" in inputs:
        inputs["timestep"] = torch.full_like(inputs["timestep"], 500)
    expected = module(*inputs.values())
    expected = (expected,) if isinstance(expected, torch.Tensor) else expected
    part = OVPart(ov.Core(), Path(model_dir) / f"{name}.xml", "CPU", precision_config("f32"))
    got = part(**{key: value.numpy() for key, value in inputs.items()}).values()
    pairs = [(torch.from_numpy(g).flatten(), e.flatten()) for g, e in zip(got, expected)]
    got, expected = (torch.cat(side) for side in zip(*pairs))
    return ((got - expected).norm() / expected.norm()).item()


def strip(pictures: Sequence[Image.Image], height: int = 160) -> Image.Image:
    """Pictures in a row, all of one height."""
    sizes = [(max(1, round(p.width * height / p.height)), height) for p in pictures]
    row = Image.new("RGB", (sum(width for width, _ in sizes), height))
    left = 0
    for picture, size in zip(pictures, sizes):
        row.paste(picture.convert("RGB").resize(size), (left, 0))
        left += size[0]
    return row


def feature_pictures(
    features: dict[str, np.ndarray], size: tuple[int, int], count: int = 3
) -> list[Image.Image]:
    """The first `count` reference features (1, l, d) as pictures: their three principal components
    as red, green and blue. `size` is that of the reference in pixels (width, height).
    """
    pictures = []
    for feature in list(features.values())[:count]:
        tokens = feature[0] - feature[0].mean(axis=0)  # l d
        scale = round((size[0] * size[1] / len(tokens)) ** 0.5)
        directions = np.linalg.svd(tokens, full_matrices=False)[0][:, :3]  # l 3, of unit length
        colours = directions * len(tokens) ** 0.5 / 2.5  # 2.5 standard deviations are full colour
        colours = np.clip(127.5 * (1 + colours), 0, 255).astype(np.uint8)
        shape = size[1] // scale, size[0] // scale, 3
        pictures.append(
            Image.fromarray(colours.reshape(shape)).resize(size, Image.Resampling.NEAREST)
        )
    return pictures


def timing_table(pipe: OVAnimateAnyonePipeline) -> Markdown:
    """Calls and seconds of every part since the pipeline was opened."""
    total = sum(part.seconds for part in pipe.parts.values()) or 1
    rows = [
        (name, part.calls, f"{part.seconds:.2f}", f"{part.seconds / total:.0%}")
        for name, part in pipe.parts.items()
        if part.calls
    ]
    return Markdown(table(["part", "calls", "seconds", "share"], rows))
