"""Pose networks become IR beside the others or alone, strictly."""

import json
import shutil
from pathlib import Path

import onnx
import openvino as ov
import pytest
from toy_pose import ToyPoints, export, write_toy_dwpose

from animate_anyone.base.files import file_facts
from animate_anyone.base.manifest import read_manifest
from animate_anyone.base.pose_networks import BLAZEPOSE, NETWORKS
from animate_anyone.cli import main
from animate_anyone.convert.poses import convert_pose_models, holds_only_pose_networks

from conftest import POSE_WEIGHTS

DETECTOR, POINTS = "DWPose/yolox_l.onnx", "DWPose/dw-ll_ucoco_384.onnx"


@pytest.fixture(scope="module")
def dwpose(tmp_path_factory) -> Path:
    """Weights of a toy DWPose; tests that change them work on a copy."""
    return write_toy_dwpose(tmp_path_factory.mktemp("dwpose"))


def entries(models: Path) -> dict:
    return json.loads((models / "manifest.json").read_text())["parts"]


def test_alone_from_the_command_line(dwpose, tmp_path, capsys):
    models = tmp_path / "models"
    command = ["convert", "--weights", str(dwpose), "--models", str(models)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{models}\n"
    assert list(entries(models)) == ["dwpose_person", "dwpose_points"]
    entry = entries(models)["dwpose_points"]
    assert entry["recipe"]["sources"] == {POINTS: file_facts(dwpose / POINTS)["sha256"]}
    assert set(entry["recipe"]["versions"]) == {"openvino"}
    for file, facts in entry["files"].items():
        assert file_facts(models / file) == facts
    with pytest.raises(ValueError, match="lacks image_encoder, .*: continue with convert"):
        read_manifest(models)
    written = (models / "dwpose_points.xml").stat().st_mtime_ns
    assert main(command) == 0
    assert (models / "dwpose_points.xml").stat().st_mtime_ns == written  # is current, kept


def test_beside_the_networks_that_animate(toy_weights, toy_models, dwpose, tmp_path):
    """Neither disturbs the other, whoever comes first."""
    models, weights = tmp_path / "models", tmp_path / "weights"
    shutil.copytree(toy_models, models)
    shutil.copytree(toy_weights, weights)
    shutil.copytree(dwpose / "DWPose", weights / "DWPose")
    animate = read_manifest(models)
    convert_pose_models(dwpose, models)
    both = read_manifest(models)
    assert both["parts"].keys() == {*animate["parts"], "dwpose_person", "dwpose_points"}
    assert both | {"parts": None} == animate | {"parts": None}
    written = {path.name: path.stat().st_mtime_ns for path in models.glob("*.xml")}
    command = ["convert", "--weights", str(weights), "--models", str(models)]
    assert main([*command, "--compression", "none"]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in models.glob("*.xml")} == written
    assert read_manifest(models) == both


def test_what_a_folder_holds(dwpose, toy_weights, tmp_path):
    assert holds_only_pose_networks(dwpose)
    assert not holds_only_pose_networks(toy_weights)
    assert not holds_only_pose_networks(tmp_path)
    assert convert_pose_models(toy_weights, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(dwpose, tmp_path / "begun")
    (tmp_path / "begun" / "motion_module.pth").touch()
    assert not holds_only_pose_networks(tmp_path / "begun")


def test_changed_weights_are_converted_anew(dwpose, tmp_path):
    shutil.copytree(dwpose, tmp_path / "weights")
    convert_pose_models(tmp_path / "weights", tmp_path / "models")
    before = entries(tmp_path / "models")
    model = onnx.load(tmp_path / "weights" / POINTS)
    model.doc_string = "other"
    onnx.save(model, tmp_path / "weights" / POINTS)
    convert_pose_models(tmp_path / "weights", tmp_path / "models")
    after = entries(tmp_path / "models")
    assert after["dwpose_person"] == before["dwpose_person"]
    assert after["dwpose_points"]["recipe"] != before["dwpose_points"]["recipe"]


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html>", b"version https://git-lfs.github.com"]
)
def test_impostors_are_refused(dwpose, tmp_path, content):
    shutil.copytree(dwpose, tmp_path / "weights")
    (tmp_path / "weights" / POINTS).write_bytes(content)
    with pytest.raises(ValueError, match="dw-ll_ucoco_384.onnx is no readable network"):
        convert_pose_models(tmp_path / "weights", tmp_path / "models")
    assert list(entries(tmp_path / "models")) == ["dwpose_person"]  # what was finished is kept


def test_networks_with_other_ports_are_refused(dwpose, tmp_path):
    path = tmp_path / POINTS
    export(path, ToyPoints(), (256, 192), ["simcc_x", "simcc_y"])
    with pytest.raises(ValueError, match=r"must have one input \[1, 3, 384, 288\], got"):
        convert_pose_models(tmp_path, tmp_path / "models")
    shutil.copy(dwpose / POINTS, path)
    model = onnx.load(path)
    del model.graph.output[1]
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"must have outputs .*768.*, got \[\(1, 133, 576\)\]"):
        convert_pose_models(tmp_path, tmp_path / "models")


def test_a_number_of_pictures_may_be_left_open(dwpose, tmp_path):
    """As in the published points network."""
    (tmp_path / "DWPose").mkdir()
    model = onnx.load(dwpose / POINTS)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tmp_path / POINTS)
    convert_pose_models(tmp_path, tmp_path / "models")
    ir = ov.Core().read_model(tmp_path / "models" / "dwpose_points.xml")
    assert list(ir.input("image").shape) == [1, 3, 384, 288]
    assert list(ir.output("simcc_y").shape) == [1, 133, 768]


def test_a_detector_in_parts_names_the_command(tmp_path):
    (tmp_path / "BlazePose").mkdir()
    (tmp_path / BLAZEPOSE["blazepose_body"].file).touch()
    with pytest.raises(FileNotFoundError) as error:
        convert_pose_models(tmp_path, tmp_path / "models")
    assert "pose_detection.tflite is missing" in str(error.value)
    assert f"download --pose blazepose --weights {tmp_path}" in str(error.value)
    assert not (tmp_path / "models").exists()


def test_blazepose_keeps_what_is_used(blazepose_models):
    """All networks, their outputs under our names, weights as they were."""
    assert list(entries(blazepose_models)) == list(BLAZEPOSE)
    for name in BLAZEPOSE:
        model = ov.Core().read_model(blazepose_models / f"{name}.xml")
        outputs = {port.get_any_name(): tuple(port.shape) for port in model.outputs}
        assert outputs == {key: shape for key, (_, shape) in NETWORKS[name].outputs.items()}
        assert [tuple(port.shape) for port in model.inputs] == [NETWORKS[name].image]
        original = POSE_WEIGHTS / NETWORKS[name].file
        sizes = [file.stat().st_size for file in (original, blazepose_models / f"{name}.bin")]
        assert sizes[1] < 2.1 * sizes[0]
