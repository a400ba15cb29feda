"""Training of the small model: three steps of each stage, resumed, and converted."""

import csv
from dataclasses import replace

import pytest
import torch

from animate_anyone.convert.checkpoints import load_part
from demo_model.drawing.character import random_character
from demo_model.drawing.render import render
from demo_model.drawing.skeleton import at_ease
from demo_model.files import read, steps_done
from demo_model.training import train, trainer
from demo_model.training.data import Stills
from demo_model.training.train import SETTINGS, STAGES
from demo_model.training.trainer import Trainer, batch_rng, cosine


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: tmp_path_factory.mktemp(name) for name in ("build", "weights", "logs")}


def tiny(stage: str, folders, **changes):
    sizes = {"characters": range(3), "pictures": 3, "frames": (3, 4), "batch": 2, "steps": 3}
    return replace(SETTINGS[stage], **{**sizes, **folders, **changes})


def log_rows(folders, stage: str) -> list[dict]:
    with (folders["logs"] / f"{stage}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_three_steps_of_each_stage_resume_and_load(folders, monkeypatch):
    monkeypatch.setattr(train, "held_out_psnr", lambda vae: 0.0)  # needs 64 more characters
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    for stage, run in STAGES.items():
        run(tiny(stage, folders), float("inf"))
        rows = log_rows(folders, stage)
        assert [int(row["step"]) for row in rows] == [1, 2, 3]
        assert all(float(row["loss"]) > 0 for row in rows)
        run(tiny(stage, folders, steps=4), float("inf"))
        assert [int(row["step"]) for row in log_rows(folders, stage)] == [1, 2, 3, 4]
    parts = ("vae_encoder", "vae_decoder", "image_encoder", "reference_unet", "pose_guider")
    for part in (*parts, "denoising_unet"):
        load_part(part, folders["weights"])
    assert sum(path.stat().st_size for path in folders["weights"].rglob("*.*")) < 25e6


def test_training_goes_on_from_shipped_weights(folders, tmp_path):
    """On a new machine, without a checkpoint, the step count and the weights are taken over."""
    settings = tiny("images", folders, steps=5, build=tmp_path)
    stem = train.layout.POSE_GUIDER
    done, before = steps_done(folders["weights"], stem), read(folders["weights"])[stem]
    assert done == 4
    trainer = train._trainer("images", train.ImageModel(), settings, {"pose_guider.": stem})
    assert trainer.step == done
    after = trainer.module.pose_guider.state_dict()
    torch.testing.assert_close(after, before)


def test_interrupted_training_is_the_same_training(tmp_path, monkeypatch):
    """Interrupted between two checkpoints and resumed, or in one go: the same weights and log."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)

    def trainer_of(name):
        torch.manual_seed(0)
        line = torch.nn.Linear(2, 1)
        return Trainer(line, tmp_path / name, tmp_path / f"{name}.csv", 6, 0.1)

    def loss_of(trainer, stop=None):
        def losses(step):
            if step == stop:
                raise KeyboardInterrupt
            x = torch.randn(8, 2, generator=batch_rng(3, step))
            return {"loss": (trainer.module(x) - x.sum(1, keepdim=True)).square().mean()}

        return losses

    whole = trainer_of("whole")
    assert whole.run(loss_of(whole))
    part = trainer_of("parts")
    part.steps = 2  # stands for the last checkpoint before the interruption
    assert part.run(loss_of(part))
    part.steps = 6
    with pytest.raises(KeyboardInterrupt):
        part.run(loss_of(part, stop=4))
    rest = trainer_of("parts")
    assert rest.step == 2
    assert rest.run(loss_of(rest))
    for name, value in whole.average.state_dict().items():
        assert torch.equal(rest.average.state_dict()[name], value)
    logs = [(tmp_path / f"{name}.csv").read_text().splitlines() for name in ("whole", "parts")]
    assert [row.split(",")[::3] for row in logs[0]] == [row.split(",")[::3] for row in logs[1]]
    assert len(logs[0]) == 7


def test_what_is_frozen_is_not_brought_back(tmp_path):
    """The motion modules' checkpoint holds them alone: the pictures may have been trained since."""
    runs = []
    for frozen in (1.0, 2.0):
        pair = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
        torch.nn.init.constant_(pair[0].requires_grad_(False).weight, frozen)
        trainer = Trainer(pair, tmp_path, tmp_path / "log.csv", 3, 0.1)
        trainer.run(lambda step, pair=pair: {"loss": pair(torch.ones(1, 1)).square().mean()})
        runs.append(trainer)
    before, after = runs
    for module in ("module", "average"):
        old, new = getattr(before, module), getattr(after, module)
        assert new[0].weight.item() == 2.0
        assert torch.equal(new[1].weight, old[1].weight)


def test_learning_rate_rises_then_falls():
    rates = [cosine(step, 1000) for step in range(1000)]
    assert rates[99] == 1 and rates[0] < 0.02
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] < 0.03


def test_stills_are_rendered_once(tmp_path):
    first = Stills(tmp_path, range(2), 2)
    time = first.path.stat().st_mtime_ns
    again = Stills(tmp_path, range(2), 2)
    assert again.path.stat().st_mtime_ns == time
    assert first.pictures.shape == (2, 2, 128, 128, 3)
    assert (first.pictures == again.pictures).all() and (first.maps == again.maps).all()
    person = random_character(1)
    assert (first.pictures[1, 0] == render(person, at_ease(person))).all()
