"""Conversion under faults: killed, out of disk, two at once. Whatever happened, the next run ends
with the IRs of an undisturbed one."""

import errno
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import openvino as ov
import pytest

from animate_anyone.base.layout import PART_NAMES
from animate_anyone.base.lock import exclusive
from animate_anyone.base.manifest import FORMAT, MANIFEST, read_manifest
from animate_anyone.convert import convert
from animate_anyone.convert.convert import convert_models

ROOT = Path(__file__).resolve().parents[1]

# A conversion that dies as if the power went, at a moment of a part: while its weights are half
# written, between the moves of its two files, or before the manifest tells of it.
DYING = """
import os, signal, sys
from pathlib import Path
import openvino as ov
from animate_anyone.convert import convert

weights, models, part, moment = sys.argv[1:]
save, move, note = ov.save_model, os.replace, convert.write_manifest

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def saving(model, path, **options):
    save(model, path, **options)
    if path.stem == part and moment == "save":
        os.truncate(path.with_suffix(".bin"), 100)
        die()

def moving(source, target):
    if Path(target).name == f"{part}.xml" and moment == "move":
        die()
    move(source, target)

def noting(folder, manifest):
    if part in manifest["parts"] and moment == "note":
        die()
    note(folder, manifest)

ov.save_model, os.replace, convert.write_manifest = saving, moving, noting
parts = [name for name in convert.PART_NAMES if not name.endswith("unet")]
convert.convert_models(weights, models, compression="none", parts=parts)
"""
# Writes beyond a limit fail, as they do on a full disk.
SMALL_DISK = """
import resource, signal, sys
from animate_anyone.cli import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(["convert", "--weights", sys.argv[2], "--models", sys.argv[3], "--compression",
"none"]))
"""


def python(script: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def irs(folder: Path, parts: list[str]) -> dict:
    """What a folder's IRs are made of: weights, and how many operations of which kind and shape.
    The names of operations are numbered anew in every conversion."""
    content = {}
    for name in parts:
        operations = ov.Core().read_model(folder / f"{name}.xml").get_ops()
        shapes = [[out.partial_shape.to_string() for out in op.outputs()] for op in operations]
        kinds = Counter(f"{op.get_type_name()}{s}" for op, s in zip(operations, shapes))
        content[name] = kinds, (folder / f"{name}.bin").read_bytes()
    return content


@pytest.mark.slow
def test_killed_at_every_moment(toy_weights, toy_models, tmp_path):
    """Each run gets one part further than the last, then the power goes."""
    parts = [name for name in PART_NAMES if not name.endswith("unet")]  # which take longer
    for done, (part, moment) in enumerate(zip(parts, ("save", "move", "note"))):
        assert python(DYING, toy_weights, tmp_path, part, moment).returncode == -signal.SIGKILL
        manifest = json.loads((tmp_path / MANIFEST).read_text())
        assert list(manifest["parts"]) == parts[:done]
        with pytest.raises(ValueError, match=f"lacks .*{part}"):
            read_manifest(tmp_path)
    convert_models(toy_weights, tmp_path, compression="none", parts=parts)
    assert not (tmp_path / ".partial").exists()
    assert irs(tmp_path, parts) == irs(toy_models, parts)


@pytest.mark.slow
def test_full_disk(toy_weights, toy_models, tmp_path):
    """Parts that fit are kept, the one that does not leaves nothing behind."""
    sizes = {name: (toy_models / f"{name}.bin").stat().st_size for name in PART_NAMES}
    limit = sizes["reference_unet"] - 1
    run = python(SMALL_DISK, limit, toy_weights, tmp_path)
    assert run.returncode == 1
    [sentence] = [line for line in run.stderr.splitlines() if line.startswith("error:")]
    assert "reference_unet.xml could not be written" in sentence and "GB are free" in sentence
    left = {path.name for path in tmp_path.iterdir()}
    assert {f"{name}.bin" for name in PART_NAMES[:3]} < left
    assert not left & {"reference_unet.bin", "reference_unet.xml", ".partial"}
    with pytest.raises(ValueError, match="lacks reference_unet"):
        read_manifest(tmp_path)


def test_no_room_for_the_manifest(toy_weights, tmp_path, monkeypatch):
    def full(folder, manifest):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(convert, "write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        convert_models(toy_weights, tmp_path, compression="none")
    assert not list(tmp_path.glob("*.xml"))


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"format": %d, "parts": {"pose_guider": 1}}' % FORMAT],
)
def test_damaged_manifest_is_written_anew(toy_models, tmp_path, damage, monkeypatch, toy_weights):
    """A manifest that cannot be read is as good as none: every part is converted again."""
    converted = []

    def noted(name, *_):
        converted.append(name)
        return {"made": name}

    monkeypatch.setattr(convert, "convert_part", noted)
    (tmp_path / MANIFEST).write_bytes(damage)
    convert_models(toy_weights, tmp_path, compression="none")
    assert tuple(converted) == PART_NAMES


def test_second_conversion_waits_for_the_first(toy_weights, toy_models, tmp_path):
    """Two at once into one folder: one converts, the other says that it waits, then finds all
    done."""
    for path in toy_models.iterdir():
        if path.name != MANIFEST:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    script = """
import logging, sys
from animate_anyone.convert.convert import convert_models
logging.basicConfig(format="%(message)s")
convert_models(sys.argv[1], sys.argv[2], compression="none")
"""
    command = [sys.executable, "-c", script, str(toy_weights), str(tmp_path)]
    with exclusive(tmp_path, "conversion"):
        second = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for line in second.stderr:
            if "waiting" in line:
                break
        assert line == f"waiting for another conversion in {tmp_path} to end\n"
        assert not (tmp_path / MANIFEST).exists()
        (tmp_path / MANIFEST).write_bytes((toy_models / MANIFEST).read_bytes())
        times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.bin")}
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.bin")} == times
