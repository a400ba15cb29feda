"""The denoising UNet as a `denoise.Denoiser`: one video's inputs are bound, deep features kept."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ..base.layout import DEEP_FEATURES
from .encode import PoseFeatures


class OVDenoiser:
    """See `denoise.Denoiser`.

    Axes: d width of a feature, e width of the embedding, f frames, h w latent rows and columns, m
    reference tokens.

    Args:
        run: calls a part by its name, `run(name, port=array, …) → {port: array}`.
        last_layer_inputs: names of the ports of the part "last_layer".
        embedding: (1, 1, e).
        reference_features: {block name: (1, m, d)}.
        pose_features: from frame indices to (1, d, f, h, w).
        keep_deep_features: the last layer can only run alone where they are kept.
    """

    def __init__(
        self,
        run: Callable,
        last_layer_inputs: Sequence[str],
        embedding: np.ndarray,
        reference_features: Mapping[str, np.ndarray],
        pose_features: PoseFeatures,
        keep_deep_features: bool = False,
    ):
        self.run, self.last_layer_inputs = run, last_layer_inputs
        self.pose_features, self.keep_deep_features = pose_features, keep_deep_features
        no_features = {name: value[:, :0] for name, value in reference_features.items()}
        self._halves = {
            True: {"encoder_hidden_states": embedding, **reference_features},
            False: {"encoder_hidden_states": np.zeros_like(embedding), **no_features},
        }
        # (frames, half) → what the last full run gave, at this timestep
        self._deep_features: dict[tuple[tuple[int, ...], bool], np.ndarray] = {}
        self._kept_at, self._lock = math.nan, threading.Lock()

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: float,
        frames: Sequence[int],
        *,
        conditional: bool,
        last_layer_only: bool = False,
    ) -> torch.Tensor:
        """See `denoise.Denoiser`."""
        window = tuple(frames), conditional
        inputs = {
            "sample": sample.numpy(),
            "timestep": np.array([timestep], np.float32),
            "pose_features": self.pose_features(frames),
            **self._halves[conditional],
        }
        if last_layer_only:
            inputs[DEEP_FEATURES] = self._deep_features[window]
            inputs = {name: inputs[name] for name in self.last_layer_inputs}
            return torch.from_numpy(self.run("last_layer", **inputs)["noise_pred"])
        outputs = self.run("denoising_unet", **inputs)
        if self.keep_deep_features:
            self._keep(window, timestep, outputs[DEEP_FEATURES])
        return torch.from_numpy(outputs["noise_pred"])

    def _keep(self, window, timestep: float, features: np.ndarray) -> None:
        """Those of the timestep before are dropped: its windows may have held other frames."""
        with self._lock:
            if timestep != self._kept_at:
                self._kept_at, self._deep_features = timestep, {}
            self._deep_features[window] = features
