"""BlazePose out of a wheel: from a package index of files, by the pip that everybody has."""

import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from animate_anyone.base.pose_networks import BLAZEPOSE, DWPOSE
from animate_anyone.cli import main
from animate_anyone.fetch import download
from animate_anyone.fetch import poses as module
from animate_anyone.fetch.poses import download_pose

PACKAGE, VERSION = "mediapipe", "0.10.21"
WHEEL = f"{PACKAGE}-{VERSION}-cp311-cp311-manylinux_2_28_x86_64.whl"
FILES = {"body/body.tflite": b"body" * 1000, "hand/hand.tflite": b"hand" * 500}


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A package index with our wheel, the only one that pip knows."""
    folder = tmp_path / "index" / PACKAGE
    folder.mkdir(parents=True)
    write_wheel(folder / WHEEL)
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", folder.parent.as_uri())
    monkeypatch.setenv("PIP_RETRIES", "0")
    return folder


def write_wheel(path: Path, files=None) -> None:
    """A wheel that pip accepts, with files of a package."""
    info = f"{PACKAGE}-{VERSION}.dist-info"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"
        "Tag: cp311-cp311-manylinux_2_28_x86_64\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (FILES if files is None else files).items():
            archive.writestr(f"mediapipe/modules/{name}", content)
        for name, content in about.items():
            archive.writestr(f"{info}/{name}", content)


@pytest.fixture
def table(index, tmp_path) -> Path:
    """What is known of the wheel and of the files in it."""
    wheel = {
        "package": f"{PACKAGE}=={VERSION}",
        "platform": "manylinux_2_28_x86_64",
        "abi": "cp311",
        "folder": "mediapipe/modules",
        "size": (index / WHEEL).stat().st_size,
        "sha256": hashlib.sha256((index / WHEEL).read_bytes()).hexdigest(),
    }
    files = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in FILES.items()
    ]
    group = {"pose": "blazepose", "folder": "BlazePose", "mirrors": [], "wheel": wheel}
    OmegaConf.save([group | {"files": files}], tmp_path / "table.yaml")
    return tmp_path / "table.yaml"


@pytest.fixture
def weights(tmp_path) -> Path:
    return tmp_path / "weights"


def assert_complete(weights: Path) -> None:
    """Both files are there and recorded, and nothing else."""
    names = {f"BlazePose/{Path(path).name}": content for path, content in FILES.items()}
    record = json.loads((weights / "download.json").read_text())["files"]
    assert {name: entry["sha256"] for name, entry in record.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in names.items()
    }
    for name, content in names.items():
        assert (weights / name).read_bytes() == content
        assert record[name]["size"] == len(content)
        assert record[name]["repo"] == f"{PACKAGE}=={VERSION}"
    assert {path.name for path in weights.iterdir()} == {"BlazePose", "download.json", ".lock"}


def refused(weights: Path, table: Path, kind: type[Exception], message: str) -> None:
    """One sentence, and nothing is left that looks whole."""
    with pytest.raises(kind, match=message) as error:
        download_pose(weights, "blazepose", table=table)
    assert "\n" not in str(error.value)
    assert not (weights / "BlazePose").exists()
    assert not (weights / ".download").exists()


def test_download_then_nothing_to_do(index, table, weights, capsys):
    assert download_pose(weights, "blazepose", table=table) == weights
    assert_complete(weights)
    out = capsys.readouterr().out
    assert "0 of 2 files are there" in out
    assert re.search(r"body\.tflite, .*hand\.tflite: out of mediapipe==0\.10\.21, [\d.]+kB", out)
    assert re.search(r"to fetch: [\d.]+kB; free on the disk: \d", out)
    shutil.rmtree(index)
    download_pose(weights, "blazepose", table=table)
    assert "2 of 2 files are there" in capsys.readouterr().out


def test_dry_run_writes_nothing(table, weights, capsys):
    download_pose(weights, "blazepose", dry_run=True, table=table)
    assert "to fetch" in capsys.readouterr().out
    assert not weights.exists()


def test_a_file_that_is_there_is_kept(table, weights, capsys):
    (weights / "BlazePose").mkdir(parents=True)
    own = weights / "BlazePose" / "hand.tflite"
    own.write_bytes(b"somebody's own")
    download_pose(weights, "blazepose", table=table)
    assert own.read_bytes() == b"somebody's own"
    assert (weights / "BlazePose" / "body.tflite").read_bytes() == FILES["body/body.tflite"]
    assert "BlazePose/hand.tflite is kept as it is, unverified" in capsys.readouterr().out


def test_another_wheel_is_refused(index, table, weights):
    write_wheel(index / WHEEL, FILES | {"body/body.tflite": b"other"})
    refused(
        weights, table, ValueError, f"{re.escape(WHEEL)} has sha256 .*, expected .*; it is not used"
    )


def test_a_changed_file_in_the_wheel_is_refused(table, weights):
    groups = OmegaConf.to_container(OmegaConf.load(table))
    groups[0]["files"][0]["sha256"] = "0" * 64
    OmegaConf.save(groups, table)
    refused(
        weights, table, ValueError, r"BlazePose/body\.tflite has sha256 .* in mediapipe-0.10.21"
    )


def test_an_index_without_the_wheel(index, table, weights):
    shutil.rmtree(index)
    index.mkdir()
    (index / "index.html").write_text("")
    refused(
        weights, table, FileNotFoundError, "the package index has no wheel for cp311 on manylinux"
    )


def test_no_network(table, weights, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    refused(weights, table, ConnectionError, "cannot be reached; check the network and run again")


def test_no_pip(table, weights, monkeypatch):
    """Python without its packages has none."""
    command = module._pip
    monkeypatch.setattr(
        module, "_pip", lambda *given: [sys.executable, "-IS", *command(*given)[1:]]
    )
    refused(weights, table, FileNotFoundError, "fetched by pip, which .* lacks: .* -m ensurepip")


def test_full_disk(table, weights, monkeypatch):
    refusal = (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    )
    script = f"print({refusal!r}); raise SystemExit(1)"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_pip", lambda *_: [sys.executable, "-c", script])
        refused(weights, table, OSError, "mediapipe==0.10.21: the disk is full; make room and run")
    usage = shutil.disk_usage(weights)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=5000))
    refused(weights, table, OSError, r"needs [\d.]+kB more, its disk has 5\.00kB free")


def test_an_unknown_fault_is_quoted(table, weights, monkeypatch):
    monkeypatch.setattr(
        module,
        "_pip",
        lambda *_: [sys.executable, "-c", "print('ERROR: odd'); raise SystemExit(2)"],
    )
    refused(weights, table, OSError, r"pip failed \(odd\)")


def test_interrupted(table, weights, monkeypatch):
    """Ctrl+C ends pip, too, and leaves nothing behind."""

    def interrupt(process, *_):
        watched.append(process)
        raise KeyboardInterrupt

    watched = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "_watch", interrupt)
        refused(weights, table, KeyboardInterrupt, "")
    assert watched[0].poll() is not None
    download_pose(weights, "blazepose", table=table)
    assert_complete(weights)


def test_a_folder_that_is_none(table, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="weights must be a folder, .*file is none"):
        download_pose(tmp_path / "file", "blazepose", table=table)
    with pytest.raises(ValueError, match="pose must be one of blazepose, got 'openpose'"):
        download_pose(tmp_path, "openpose", table=table)


def test_the_command_line_asks_for_it(table, weights, monkeypatch, capsys):
    monkeypatch.setattr(module, "TABLE", table)
    assert main(["download", "--pose", "blazepose", "--weights", str(weights)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(weights)
    assert_complete(weights)


def test_the_table_is_what_conversion_reads():
    groups = OmegaConf.to_container(OmegaConf.load(download.TABLE))
    names = {
        group["pose"]: {f"{group['folder']}/{Path(entry['path']).name}" for entry in group["files"]}
        for group in groups
        if "pose" in group
    }
    assert names == {
        "dwpose": {network.file for network in DWPOSE.values()},
        "blazepose": {network.file for network in BLAZEPOSE.values()},
    }
