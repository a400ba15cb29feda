"""Downloads from a fake Hub, in processes of their own: whatever happens, the next run ends
well."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from random import Random

import pytest
import torch
from fake_hub import FakeHub
from omegaconf import OmegaConf

from animate_anyone.convert.checkpoints import PARTS, load_part
from animate_anyone.fetch.download import TABLE, _lacks_spatial_keys, read_table

from conftest import ROOT

# Waits are cut to a fiftieth. Small chunks, because what has not filled a chunk is not kept.
DRIVER = """
import sys, time
from pathlib import Path
import huggingface_hub
from animate_anyone import cli
from animate_anyone.fetch import download, hub
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1000
time.sleep = lambda seconds, sleep=time.sleep: sleep(seconds / 50)
download.TABLE = Path(sys.argv.pop(1))
{}
sys.exit(cli.main(sys.argv[1:]))
"""
UNET, GUIDER, CONFIG = "denoising_unet.pth", "pose_guider.pth", "image_encoder/config.json"
VAE = "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"
CONTENT = {
    UNET: Random(0).randbytes(100_000),
    GUIDER: Random(1).randbytes(50_000),
    CONFIG: b'{"model_type": "clip_vision_model"}',
    VAE: Random(2).randbytes(20_000),
}


@pytest.fixture
def hub():
    """Two repositories, one of them also under another name."""
    first = {path: CONTENT[path] for path in (UNET, GUIDER, CONFIG)}
    vae = {"diffusion_pytorch_model.safetensors": CONTENT[VAE]}
    repos = {"original/model": first, "mirror/model": dict(first), "original/vae": vae}
    with FakeHub(repos) as server:
        yield server


@pytest.fixture
def table(tmp_path, hub):
    """Size and sum are known of one file; one repository has a pinned revision."""
    unet = {"path": UNET, "size": 100_000, "sha256": sha256(CONTENT[UNET]).hexdigest()}
    groups = [
        {
            "folder": ".",
            "mirrors": [
                {"repo": "original/model", "revision": hub.commit("original/model")},
                {"repo": "mirror/model", "revision": None},
            ],
            "files": [unet, {"path": GUIDER}, {"path": CONFIG}],
        },
        {
            "folder": "sd-vae-ft-mse",
            "mirrors": [{"repo": "original/vae", "revision": None}],
            "files": [{"path": "diffusion_pytorch_model.safetensors"}],
        },
    ]
    OmegaConf.save(groups, tmp_path / "table.yaml")
    return tmp_path / "table.yaml"


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "weights"


@pytest.fixture
def start(hub, table, weights, tmp_path):
    """Start `download` in a process of its own; `prelude` is Python to run before."""

    def popen(*more, prelude="", folder=weights, **env):
        home = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.endpoint}
        clean = {k: v for k, v in os.environ.items() if "OFFLINE" not in k and k != "HF_TOKEN"}
        command = [sys.executable, "-c", DRIVER.format(prelude), table, "download"]
        return subprocess.Popen(
            [*command, "--weights", folder, *more],
            cwd=ROOT,
            env=clean | home | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen


@pytest.fixture
def run(start):
    """Run `download` to its end: exit code, what it said, and its last line on stderr."""

    def call(*more, **options):
        process = start(*more, **options)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return process.returncode, out, err.strip().splitlines()[-1] if err.strip() else ""

    return call


def read_record(weights):
    return json.loads((weights / "download.json").read_text())["files"]


def assert_complete(weights, names=tuple(CONTENT)):
    """All files are in place, whole and recorded as verified, and nothing is left over."""
    record = read_record(weights)
    assert set(record) == set(names)
    for name in names:
        content = (weights / name).read_bytes()
        assert content == CONTENT[name]
        assert record[name]["sha256"] == sha256(content).hexdigest()
        assert record[name]["size"] == len(content)
        assert record[name]["mtime_ns"] == (weights / name).stat().st_mtime_ns
    assert not (weights / ".download").exists()


def assert_nothing_looks_whole(weights):
    """After a failure no file is in a place where it is not what it should be."""
    for name, content in CONTENT.items():
        assert not (weights / name).exists() or (weights / name).read_bytes() == content


def test_download_then_nothing_to_do(run, hub, weights, tmp_path):
    code, out, _ = run()
    assert code == 0
    assert_complete(weights)
    assert "0 of 4 files are there" in out
    assert f"{UNET}: 100kB from original/model" in out
    assert re.search(r"to fetch: 170kB; free on the disk: \d", out)
    source = read_record(weights)[GUIDER]
    assert source["repo"] == "original/model"
    assert source["revision"] == hub.commit("original/model")
    assert not list((tmp_path).glob("hf/hub/*"))  # the Hub's cache would take the space twice
    before = len(hub.requests)
    code, out, _ = run(HF_HUB_OFFLINE="1")
    assert (code, len(hub.requests)) == (0, before)
    assert "4 of 4 files are there" in out


def test_dry_run_writes_nothing(run, hub, weights):
    code, out, _ = run("--dry-run")
    assert code == 0
    assert "to fetch: 170kB" in out
    assert {request.method for request in hub.requests} == {"HEAD"}
    assert not weights.exists()


@pytest.mark.parametrize("fault", ["drop", "reset", 500, 429])
def test_passing_fault_is_mended(run, hub, weights, fault):
    hub.fail("GET", UNET, fault, times=2)
    began = time.monotonic()
    code, _, _ = run()
    assert code == 0
    assert_complete(weights)
    starts = hub.starts(UNET)
    assert len(starts) == 3
    if isinstance(fault, str):
        assert 0 < starts[1] < starts[2]  # continued, not begun anew
    if fault == 429:
        assert time.monotonic() - began > 2 * 3 / 50  # twice what Retry-After wished


@pytest.mark.parametrize("status", [429, 503])
def test_busy_hub_is_asked_again(run, hub, weights, status):
    hub.fail("HEAD", UNET, status, times=2)
    assert run()[0] == 0
    assert_complete(weights)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncate", f"{UNET} has 50000 bytes, expected 100000; it is now {UNET}.bad, run again"),
        ("corrupt", f"{UNET} has hash "),
        (500, "answered 500; wait a while and run again, what was fetched is kept"),
        (429, "answered 429; wait a while"),
        (403, "answered 403"),
    ],
)
def test_lasting_fault_is_one_sentence(run, hub, weights, fault, message):
    hub.fail("GET", UNET, fault, times=100)
    code, _, error = run()
    assert code == 1
    assert error.startswith("error: ") and message in error
    if fault == "corrupt":
        assert error.count(sha256(CONTENT[UNET]).hexdigest()) == 1  # expected
    assert_nothing_looks_whole(weights)
    assert (weights / f"{UNET}.bad").exists() == (fault in ("truncate", "corrupt"))
    hub.fail("GET", UNET, "none", times=0)
    assert run()[0] == 0
    assert_complete(weights)


def test_corrupt_small_file(run, hub, weights):
    """The ETag of a file outside of LFS is git's id of it."""
    hub.fail("GET", CONFIG, "corrupt")
    code, _, error = run()
    assert code == 1
    assert f"{CONFIG} has hash " in error
    assert run()[0] == 0
    assert_complete(weights)


def test_finished_files_are_not_fetched_again(run, hub, weights):
    hub.fail("GET", GUIDER, 500, times=100)
    assert run()[0] == 1
    assert set(read_record(weights)) == {UNET}
    hub.fail("GET", GUIDER, "none", times=0)
    code, out, _ = run()
    assert code == 0
    assert "1 of 4 files are there, 100kB" in out
    assert hub.starts(UNET) == [0]
    assert_complete(weights)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_download_is_continued(start, run, hub, weights, stop):
    hub.fail("GET", UNET, "stall")
    process = start()
    partial = weights / ".download" / f"{sha256(CONTENT[UNET]).hexdigest()}.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 40_000)
    process.send_signal(stop)
    _, err = process.communicate(timeout=20)
    assert process.returncode == (130 if stop == signal.SIGINT else -9)
    assert "Traceback" not in err
    assert_nothing_looks_whole(weights)
    assert not (weights / UNET).exists()
    code, out, _ = run()
    assert code == 0
    assert re.search(rf"{UNET}: 100kB from original/model, [45]\d\.\dkB of it is there", out)
    assert hub.starts(UNET)[-1] > 40_000
    assert_complete(weights)


def test_server_without_ranges(start, run, hub, weights):
    """Then there is nothing to continue, and nothing must be appended."""
    hub.fail("GET", UNET, "stall")
    process = start()
    wait_until(lambda: (weights / ".download").exists() and hub.starts(UNET))
    wait_until(lambda: any(path.stat().st_size for path in (weights / ".download").iterdir()))
    process.kill()
    process.communicate()
    hub.fail("GET", UNET, "no range")
    assert run()[0] == 0
    assert hub.starts(UNET)[-1] > 0
    assert_complete(weights)


def test_hub_goes_away(start, run, hub, weights):
    """In the middle of a file, and before."""
    hub.fail("GET", UNET, "stall")
    process = start()
    wait_until(lambda: hub.starts(UNET))
    hub.__exit__()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cannot be reached" in err.splitlines()[-1]
    endpoint = hub.endpoint
    code, _, error = run(HF_ENDPOINT=endpoint)
    assert code == 1
    assert f"{endpoint} cannot be reached" in error and "check the network" in error
    with hub:
        assert run()[0] == 0
    assert_complete(weights)


def test_offline(run, weights):
    code, _, error = run(HF_HUB_OFFLINE="1")
    assert code == 1
    assert error == f"error: {UNET} is missing: unset HF_HUB_OFFLINE to fetch it"
    assert run()[0] == 0
    assert_complete(weights)


def test_login(run, hub, weights):
    """A gated repository says how to log in; the token goes to the Hub and nowhere else."""
    hub.token = "hf_secret"
    code, _, error = run()
    assert code == 1
    assert "original/model answered 401, mirror/model answered 401" in error
    assert "log in with `hf auth login`" in error
    assert not hub.starts(UNET)
    assert run(HF_TOKEN="hf_secret")[0] == 0
    assert_complete(weights)
    on_cdn = [request for request in hub.requests if request.host == "localhost"]
    assert on_cdn and not any(request.token for request in on_cdn)


def test_mirror(run, hub, weights):
    del hub.repos["original/model"]
    assert run()[0] == 0
    assert_complete(weights)
    assert read_record(weights)[UNET]["repo"] == "mirror/model"


def test_a_mirror_that_tells_no_commit(run, hub, table, weights):
    """Files whose commit and sum the table names are taken and checked by them; others are not."""
    hub.silent = True
    code, _, error = run()
    assert code == 1
    assert f"{GUIDER} cannot be fetched: original/model names no commit or no hash" in error
    groups = OmegaConf.to_container(OmegaConf.load(table))[:1]
    del groups[0]["files"][1:]
    OmegaConf.save(groups, table)
    code, _, _ = run()
    assert code == 0
    assert_complete(weights, [UNET])
    assert read_record(weights)[UNET]["revision"] == hub.commit("original/model")


def test_such_a_mirror_is_not_trusted(run, hub, table, weights):
    hub.silent = True
    groups = OmegaConf.to_container(OmegaConf.load(table))[:1]
    del groups[0]["files"][1:]
    OmegaConf.save(groups, table)
    hub.repos["original/model"][UNET] = bytes(100_000)
    code, _, error = run()
    assert code == 1
    assert re.search(rf"{UNET} has hash \w+, expected", error)
    assert not (weights / UNET).exists()


def test_file_is_nowhere(run, hub, weights):
    for repo in ("original/model", "mirror/model"):
        del hub.repos[repo][GUIDER]
    code, _, error = run()
    assert code == 1
    tried = "original/model answered 404, mirror/model answered 404"
    assert error == f"error: {GUIDER} cannot be fetched: {tried}"
    assert not hub.starts(UNET)  # known before the first byte
    hub.repos["mirror/model"][GUIDER] = CONTENT[GUIDER]
    assert run()[0] == 0
    assert_complete(weights)


def test_another_file_under_the_name(run, hub, weights):
    """A known size and sum are compared before the first byte, and a mirror may have the right
    one."""
    hub.repos["original/model"][UNET] = CONTENT[UNET][1:]
    hub.repos["mirror/model"][UNET] = CONTENT[UNET][::-1]
    code, _, error = run()
    assert code == 1
    assert "original/model has one of 99999 bytes, expected 100000" in error
    assert "mirror/model has one with the hash" in error
    assert not [request for request in hub.requests if request.method == "GET"]
    hub.repos["mirror/model"][UNET] = CONTENT[UNET]
    assert run()[0] == 0
    assert_complete(weights)


def test_does_not_fit(run, hub, weights):
    small = "import shutil; shutil.disk_usage = lambda path: type('Usage', (), {'free': 169_999})"
    for more in ([], ["--dry-run"]):
        code, _, error = run(*more, prelude=small)
        assert code == 1
        assert error == f"error: {weights} needs 170kB more, its disk has 170kB free"
    assert {request.method for request in hub.requests} == {"HEAD"}
    assert run()[0] == 0
    assert_complete(weights)


def test_disk_full_on_the_way(run, weights):
    raising = "def http_get(*a, **k): raise OSError(errno.ENOSPC, 'x')"
    full = f"import errno\n{raising}\nhub.http_get = http_get"
    code, _, error = run(prelude=full)
    assert code == 1
    assert f"{UNET}: the disk is full; make room and run again" in error
    assert run()[0] == 0
    assert_complete(weights)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder where even root cannot write")
def test_read_only_folder(run):
    code, _, error = run(folder="/sys/weights")
    assert code == 1
    assert error.startswith("error: /sys/weights cannot be written: ")


def test_weights_is_a_file(run, weights):
    weights.touch()
    assert run()[2] == f"error: weights must be a folder, {weights} is none"


def test_folder_of_the_original_project(run, hub, weights):
    """What is there is kept under any ending, and checked as far as something is known of it."""
    (weights / "sd-vae-ft-mse").mkdir(parents=True)
    (weights / "sd-vae-ft-mse/diffusion_pytorch_model.bin").write_bytes(b"other format")
    (weights / GUIDER).write_bytes(b"own training")
    (weights / UNET).write_bytes(CONTENT[UNET])
    code, out, _ = run()
    assert code == 0
    assert "3 of 4 files are there" in out
    assert f"{GUIDER} is kept as it is, unverified" in out
    assert "diffusion_pytorch_model.bin is kept as it is, unverified" in out
    assert {request.path for request in hub.requests} == {CONFIG}
    assert (weights / GUIDER).read_bytes() == b"own training"
    assert set(read_record(weights)) == {UNET, CONFIG}  # the first by its known sum
    before = len(hub.requests)
    assert run(HF_HUB_OFFLINE="1")[0] == 0
    assert len(hub.requests) == before


def test_complete_folder_that_cannot_be_written(run, hub, weights):
    for name, content in CONTENT.items():
        (weights / name).parent.mkdir(parents=True, exist_ok=True)
        (weights / name).write_bytes(content)
    code, out, _ = run(prelude="import os; os.access = lambda path, mode: False")
    assert code == 0
    assert out.count("unverified") == 4
    assert not hub.requests
    assert {path.name for path in weights.iterdir()} == {name.split("/")[0] for name in CONTENT}


@pytest.mark.parametrize("content", [CONTENT[UNET][:5000], CONTENT[UNET][::-1]])
def test_other_weights_are_kept_and_reported(run, hub, weights, content):
    """Nobody but their owner knows whether they are broken or wanted."""
    weights.mkdir()
    (weights / UNET).write_bytes(content)
    code, out, _ = run()
    assert code == 0
    assert f"{UNET} is kept as it is, unverified" in out
    assert (weights / UNET).read_bytes() == content
    assert not hub.starts(UNET)
    if len(content) == 5000:
        assert "has 5000 bytes, the published file has 100000: delete it" in run()[2]
    (weights / UNET).unlink()
    assert run()[0] == 0
    assert_complete(weights)


@pytest.mark.parametrize("damage", ["", "{", '{"files": 3}', '{"files": {"pose_guider.pth": {}}}'])
def test_damaged_record(run, hub, weights, damage):
    assert run()[0] == 0
    (weights / "download.json").write_text(damage)
    before = len(hub.requests)
    code, out, _ = run()
    assert (code, len(hub.requests)) == (0, before)
    assert f"{GUIDER} is kept as it is, unverified" in out
    assert set(read_record(weights)) == {UNET}
    for name in CONTENT:
        (weights / name).unlink()
    assert run()[0] == 0
    assert_complete(weights)


def test_touched_file_is_hashed_again(run, hub, weights):
    assert run()[0] == 0
    os.utime(weights / GUIDER, (1, 1))
    before = len(hub.requests)
    code, out, _ = run(HF_HUB_OFFLINE="1")
    assert (code, len(hub.requests)) == (0, before)
    assert f"checking {weights / GUIDER}" in out
    assert_complete(weights)
    assert "checking" not in run()[1]


def test_recorded_file_was_changed(run, weights):
    assert run()[0] == 0
    (weights / GUIDER).write_bytes(b"rotten")
    code, _, error = run()
    assert code == 1
    assert f"{GUIDER} has sha256 {sha256(b'rotten').hexdigest()}, expected " in error
    assert (weights / f"{GUIDER}.bad").read_bytes() == b"rotten"
    assert run()[0] == 0
    assert_complete(weights)


def test_two_at_once(start, hub, weights):
    hub.fail("GET", UNET, "stall")
    first = start()
    wait_until(lambda: hub.starts(UNET))
    second = start()
    assert second.stderr.readline() == f"waiting for another download in {weights} to end\n"
    hub.released.set()
    for process in (first, second):
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert len(hub.starts(GUIDER)) == 1
    assert_complete(weights)


def test_spatial_keys_come_from_stable_diffusion(run, hub, table, weights, toy_weights):
    """A denoising UNet that lacks keys, and only that, makes SD 1.5's weights necessary."""
    shutil.copytree(toy_weights, weights)
    spatial = torch.load(weights / UNET, weights_only=True)
    sd_path = "unet/diffusion_pytorch_model.bin"
    torch.save(spatial, weights / "sd.bin")
    hub.repos["sd/15"] = {sd_path: (weights / "sd.bin").read_bytes()}
    (weights / "sd.bin").unlink()
    groups = OmegaConf.to_container(OmegaConf.load(table))
    sd_file = {"path": sd_path, "fallback": True}
    mirrors = [{"repo": "sd/15", "revision": None}]
    sd = {"folder": "stable-diffusion-v1-5", "mirrors": mirrors, "files": [sd_file]}
    OmegaConf.save([*groups, sd], table)
    assert not _lacks_spatial_keys(weights)
    del spatial["conv_in.bias"]
    torch.save(spatial, weights / UNET)
    code, out, _ = run()
    assert code == 0
    assert "denoising_unet lacks spatial keys: they are taken from Stable Diffusion 1.5" in out
    assert {request.path for request in hub.requests} == {sd_path}
    load_part("denoising_unet", weights)


def test_a_pose_detector_is_fetched_by_its_name(run, hub, table, weights):
    groups = OmegaConf.to_container(OmegaConf.load(table))
    detector = {"pose": "dwpose", "folder": "DWPose", "files": [{"path": GUIDER}]}
    mirrors = [{"repo": "mirror/model", "revision": None}]
    OmegaConf.save([*groups, detector | {"mirrors": mirrors}], table)
    assert run("--pose", "dwpose")[0] == 0
    assert (weights / "DWPose" / GUIDER).read_bytes() == CONTENT[GUIDER]
    assert set(read_record(weights)) == {f"DWPose/{GUIDER}"}
    before = len(hub.requests)
    assert run("--pose", "dwpose", HF_HUB_OFFLINE="1")[0] == 0
    assert len(hub.requests) == before
    assert run()[0] == 0
    assert set(read_record(weights)) == {*CONTENT, f"DWPose/{GUIDER}"}


def test_the_table_is_what_conversion_reads():
    files = read_table(TABLE)
    needed = {entry for _, entries in PARTS.values() for entry in entries}
    names = {file.name for file in files if not file.fallback}
    assert {name if name.endswith(".json") else name.rsplit(".", 1)[0] for name in names} == needed
    assert [file.name for file in files if file.fallback] == [
        "stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors"
    ]
    for file in files:
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size is None or isinstance(file.size, int)
        for repo, revision in file.mirrors:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", repo)
            assert revision == "main" or re.fullmatch("[0-9a-f]{40}", revision)


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
