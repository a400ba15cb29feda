"""The denoising UNet as the reference implementation computes it, for comparison.

Both halves of guidance are one batch of two. Each attends to the reference, the unconditional one
for nothing; keys and values of the reference are projected for every frame; cross-attention to the
single token of the image has queries, keys and a softmax; value and gate of the feed-forward layers
are one product (Moore-AnimateAnyone, `mutual_self_attention.py`).

    python -m benchmarks.plain --weights build/full_weights --models build/full_models

converts it with 8-bit weights and writes `plain_denoising_unet.xml` beside the IRs of ours.

Axes: b = 2 halves, unconditional first; f frames, l = h*w tokens, m reference tokens, d width.
"""

import argparse
from pathlib import Path

import torch
from diffusers.models.attention import FeedForward
from einops import repeat

from animate_anyone.networks import DenoisingUNet
from animate_anyone.networks.attention import (
    GatedFeedForward,
    ReferenceAttention,
    TransformerBlock,
    attend,
)

PAIRED = ("sample", "encoder_hidden_states", "pose_features")  # inputs that both halves have


class PlainReferenceAttention(ReferenceAttention):
    """Self-attention with the reference for all, then once more without it for half of them."""

    def forward(self, tokens, frames, reference):
        """Tokens (b f, l, d), reference (1, m, d) → (b f, l, d)."""
        references = repeat(torch.cat([reference, reference]), "b m d -> (b f) m d", f=frames)
        both = torch.cat([tokens, references], dim=1)
        hidden = attend(self, self.to_q(tokens), self.to_k(both), self.to_v(both))
        half = tokens.chunk(2)[0]
        alone = attend(self, self.to_q(half), self.to_k(half), self.to_v(half))
        return torch.cat([alone, hidden.chunk(2)[1]])


class PlainBlock(TransformerBlock):
    """With cross-attention written out."""

    def forward(self, tokens, embedding, frames, reference=None):
        """(b f, l, d) → (b f, l, d) and the reference feature, which nobody asks for."""
        feature = self.norm1(tokens)
        tokens = tokens + self.attn1(feature, frames, reference)
        context = repeat(embedding, "b l e -> (b f) l e", f=frames)  # (b f) 1 e
        cross, query = self.attn2, self.attn2.to_q(self.norm2(tokens))
        tokens = tokens + attend(cross, query, cross.to_k(context), cross.to_v(context))
        return tokens + self.ff(self.norm3(tokens)), feature


def plain_unet(weights_dir: Path) -> DenoisingUNet:
    """The denoising UNet of a weights folder, computing the long way. Its inputs have batch 2, but
    for the timestep and the reference features; its answer is that of both halves.
    """
    from animate_anyone.convert.checkpoints import load_part

    return made_plain(load_part("denoising_unet", weights_dir))


def made_plain(unet: DenoisingUNet) -> DenoisingUNet:
    """The same module with other forwards: same parameters, so the classes can simply be
    exchanged.
    """
    for module in unet.modules():
        if isinstance(module, TransformerBlock):
            module.__class__, module.attn1.__class__ = PlainBlock, PlainReferenceAttention
        elif isinstance(module, GatedFeedForward):
            module.__class__ = FeedForward
    return unet


def convert(weights_dir: Path, model_dir: Path) -> Path:
    """What `convert_model` and NNCF make of it, ports named as in ours; one that is younger than
    the weights is kept.
    """
    import nncf
    import openvino as ov

    from animate_anyone.convert.checkpoints import source_files
    from animate_anyone.convert.export import trace
    from animate_anyone.convert.ports import part_ports

    path = model_dir / "plain_denoising_unet.xml"
    changed = max(file.stat().st_mtime for file in source_files("denoising_unet", weights_dir))
    if path.exists() and path.stat().st_mtime > changed:
        return path
    unet = plain_unet(weights_dir)
    ports = part_ports("denoising_unet", unet)
    example = [
        torch.cat([value, value]) if name in PAIRED else value
        for name, value in ports.example.items()
    ]
    model = trace(unet, example)
    for port, name in zip(model.inputs, ports.example, strict=True):
        port.get_tensor().set_names({name})
    model.outputs[0].get_tensor().set_names(set(ports.outputs))
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    partial = model_dir / "partial.xml"
    ov.save_model(model, partial)
    partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
    return partial.replace(path)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    print(convert(options.weights, options.models))


if __name__ == "__main__":
    main()
