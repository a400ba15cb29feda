"""Damage is seen: IR files that changed, numbers that are none, a manifest with odd content."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from animate_anyone.base import verify
from animate_anyone.base.files import write_json
from animate_anyone.base.layout import PART_NAMES
from animate_anyone.base.manifest import MANIFEST, part_files
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.runtime import precision_config

from conftest import run_case

SHORT = {"num_inference_steps": 1, "output_type": "latent"}


@pytest.fixture
def models(toy_models, tmp_path):
    """A copy of the toy's IRs."""
    return shutil.copytree(toy_models, tmp_path / "models")


def open_pipeline(models) -> OVAnimateAnyonePipeline:
    return OVAnimateAnyonePipeline.from_pretrained(models, ov_config=precision_config("f32"))


def flip_bit(path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("part", PART_NAMES)
def test_one_flipped_bit(models, part):
    """Sizes stay, and so does everything that a look at the file system shows."""
    path = models / f"{part}.bin"
    flip_bit(path, path.stat().st_size // 2)
    with pytest.raises(
        ValueError, match=rf"{part}\.bin has changed .*models --compression none` again"
    ):
        run_case(open_pipeline(models), "noguide", **SHORT | {"output_type": "np"})


def test_a_changed_graph_is_never_opened(models):
    flip_bit(models / "vae_encoder.xml", 200)
    with pytest.raises(ValueError, match=r"vae_encoder\.xml has changed since it was converted"):
        open_pipeline(models)


def test_a_change_after_opening_is_seen(models):
    """A page stays open for days; the next size compiles from what then lies there."""
    pipe = open_pipeline(models)
    run_case(pipe, "noguide", **SHORT)
    flip_bit(models / "pose_guider.bin", 1000)
    with pytest.raises(ValueError, match=r"pose_guider\.bin has changed since it was converted"):
        run_case(pipe, "noguide", **SHORT)


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """Names of the files that are hashed."""
    names, facts = [], verify.file_facts
    monkeypatch.setattr(verify, "file_facts", lambda path: names.append(path.name) or facts(path))
    return names


@pytest.mark.slow
def test_each_file_is_hashed_once_per_change(models, hashed):
    files = {file for name in PART_NAMES for file in part_files(name)}
    for expected in (files, set()):
        hashed.clear()
        run_case(open_pipeline(models), "noguide", **SHORT)
        open_pipeline(models)._verification.wait("vae_decoder")
        assert set(hashed) == expected
    hashed.clear()
    os.utime(models / "pose_guider.bin")
    run_case(open_pipeline(models), "noguide", **SHORT)
    assert hashed == ["pose_guider.bin"]


@pytest.mark.parametrize("record", [b"", b"[]", b'{"pose_guider.bin": 1}', b"\xff"])
def test_a_damaged_record_is_as_good_as_none(models, record, hashed):
    (models / verify.RECORD).write_bytes(record)
    run_case(open_pipeline(models), "noguide", **SHORT)
    assert "pose_guider.bin" in hashed


def test_a_folder_that_cannot_be_written(models, monkeypatch, hashed):
    """It is hashed in every process, and nothing fails."""

    def refused(path, values):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(verify, "write_json", refused)
    (models / verify.RECORD).unlink(missing_ok=True)
    for _ in range(2):
        hashed.clear()
        run_case(open_pipeline(models), "noguide", **SHORT | {"output_type": "np"})
        assert len(hashed) == 12 and not (models / verify.RECORD).exists()


@pytest.mark.parametrize("part", PART_NAMES)
def test_values_that_are_not_finite_name_the_part(pipe, monkeypatch, part):
    """As damaged weights or too narrow numbers make them."""
    compile_part = pipe.parts[part].compile

    class Broken:
        """A request whose answers begin with a number that is none."""

        def __init__(self, request):
            self.request = request

        def __getattr__(self, name):
            return getattr(self.request, name)

        def get_tensor(self, port):
            data = self.request.get_tensor(port).data.copy()
            data.flat[0] = np.nan
            return SimpleNamespace(data=data)

    def broken(shapes):
        return Broken(compile_part(shapes))

    monkeypatch.setattr(pipe.parts[part], "compile", broken)
    sentence = f"{part} gave values that are not finite numbers, on CPU in f32: try precision f32"
    with pytest.raises(FloatingPointError, match=sentence):
        run_case(pipe, "noguide", **SHORT | {"output_type": "np"})


def test_absurd_guidance_ends_in_a_sentence(pipe):
    with pytest.raises(FloatingPointError, match="less guidance"):
        run_case(pipe, "short", guidance_scale=1e38)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_latents_of_a_callback_must_be_finite(pipe, value):
    def spoil(pipe, step, timestep, values):
        values["latents"][0, 0, 0, 0, 0] = float(value)
        return values

    with pytest.raises(FloatingPointError, match="latents of callback_on_step_end must be finite"):
        run_case(pipe, "noguide", callback_on_step_end=spoil, **SHORT)


def test_a_callback_that_returns_a_list(pipe):
    with pytest.raises(TypeError, match="answer of callback_on_step_end must be .*, got list"):
        run_case(pipe, "noguide", callback_on_step_end=lambda *_: [1], **SHORT)


@pytest.mark.parametrize("name", ["NoSuchScheduler", "UNet2DConditionModel", "__version__"])
def test_an_unknown_scheduler(models, name, capsys, tmp_path):
    manifest = json.loads((models / MANIFEST).read_text())
    manifest["scheduler"]["_class_name"] = name
    write_json(models / MANIFEST, manifest)
    with pytest.raises(ValueError, match=f"scheduler must be a class of diffusers .*'{name}'"):
        open_pipeline(models)
