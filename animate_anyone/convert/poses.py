"""Pose networks → OpenVINO IR: TensorFlow Lite and ONNX files as they were published.

OpenVINO reads both. The IR keeps the outputs that are used, under names of our own, and stands in
the manifest beside the parts that animate; neither needs the other.
"""

from importlib.metadata import version
from pathlib import Path

import openvino as ov

from ..base import layout
from ..base.files import file_facts
from ..base.lock import exclusive
from ..base.pose_networks import NETWORKS, OPTIONAL, PoseNetwork, family
from .convert import check_folders, convert_stale
from .export import save_ir

CHECKPOINTS = (
    *(layout.DENOISING_UNET, layout.MOTION_MODULE, layout.REFERENCE_UNET, layout.POSE_GUIDER),
    *(layout.IMAGE_ENCODER, layout.VAE),
)


def convert_pose_models(weights_dir, model_dir) -> list[str]:
    """Convert the pose networks that a weights folder holds; those that are current are kept.
    Weights are stored as the files store them: they are few, and what is found must be exact.

    Args:
        weights_dir: folder with `BlazePose/*.tflite`, `DWPose/*.onnx`, both or neither.
        model_dir: receives one `.xml` and `.bin` per network, and entries in `manifest.json`.

    Returns:
        The names of the networks, of `base.pose_networks.NETWORKS`.

    Raises:
        FileNotFoundError: there is no such folder, or only a part of a detector in it.
        ValueError: a file cannot be read, or holds another network.
        OSError: an IR could not be written; what was finished is kept.
    """
    weights_dir, model_dir = Path(weights_dir), Path(model_dir)
    check_folders(weights_dir, model_dir)
    names = [name for name, network in NETWORKS.items() if (weights_dir / network.file).is_file()]
    _refuse_gaps(names, weights_dir)
    if not names:
        return []
    recipes = {name: _recipe(NETWORKS[name].file, weights_dir) for name in names}
    model_dir.mkdir(parents=True, exist_ok=True)

    def convert(name: str, _compression: str) -> dict:
        model = read_network(weights_dir / NETWORKS[name].file, NETWORKS[name])
        return {"files": save_ir(model, model_dir / f"{name}.xml", compress_to_fp16=False)}

    with exclusive(model_dir, "conversion"):
        convert_stale(model_dir, recipes, {}, convert)
    return names


def holds_only_pose_networks(weights_dir) -> bool:
    """Whether there are pose networks and not a file of those that animate."""
    weights_dir = Path(weights_dir)
    if not any((weights_dir / network.file).is_file() for network in NETWORKS.values()):
        return False
    names = (name + ending for name in CHECKPOINTS for ending in layout.WEIGHT_ENDINGS)
    return not any((weights_dir / name).is_file() for name in names)


def read_network(path: Path, network: PoseNetwork) -> ov.Model:
    """A network with our names of its ports, and without the outputs that nobody needs.

    Raises:
        ValueError: the file cannot be read, or its ports have other shapes.
    """
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        raise ValueError(f"{path} is no readable network: fetch it again") from error
    shapes = [port.get_partial_shape() for port in model.inputs]
    if len(shapes) != 1 or not shapes[0].compatible(ov.PartialShape(list(network.image))):
        raise ValueError(f"{path} must have one input {list(network.image)}, got {shapes}")
    model.reshape(list(network.image))  # some leave open how many pictures they take
    shapes = [tuple(port.get_partial_shape().to_shape()) for port in model.outputs]
    expected = dict(network.outputs.values())
    if any(index >= len(shapes) or shapes[index] != shape for index, shape in expected.items()):
        raise ValueError(f"{path} must have outputs {expected}, got {shapes}")
    model.inputs[0].get_tensor().set_names({"image"})
    for name, (index, _) in network.outputs.items():
        model.outputs[index].get_tensor().set_names({name})
    results = [model.outputs[index].get_node() for index in expected]
    return ov.Model(results, model.get_parameters())


def _refuse_gaps(names: list[str], weights_dir: Path) -> None:
    for name, network in NETWORKS.items():
        begun = any(family(other) == family(name) for other in names)
        if begun and name not in names and name not in OPTIONAL:
            raise FileNotFoundError(
                f"{weights_dir / network.file} is missing: run `python -m animate_anyone download"
                f" --pose {family(name)} --weights {weights_dir}`"
            )


def _recipe(file: str, weights_dir: Path) -> dict:
    return {
        "sources": {file: file_facts(weights_dir / file)["sha256"]},
        "compression": "none",
        "versions": {"openvino": version("openvino")},
    }
