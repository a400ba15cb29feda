"""Configs: what is accepted, and what is refused in one sentence."""

import json
import shutil

import pytest

from animate_anyone.base.config import GenerationConfig
from animate_anyone.base.layout import GENERATION_CONFIG
from animate_anyone.convert.convert import convert_models, inference_settings


def test_published_weights_bring_no_recommendation(toy_weights):
    settings = inference_settings(toy_weights)["generation"]
    assert settings == {
        "num_inference_steps": 30,
        "guidance_scale": 3.5,
        "width": None,
        "height": None,
    }


def test_recommendation_of_a_weights_folder(toy_weights, tmp_path):
    shutil.copytree(toy_weights, tmp_path, dirs_exist_ok=True)
    (tmp_path / GENERATION_CONFIG).write_text(json.dumps({"num_inference_steps": 8, "width": 64}))
    settings = inference_settings(tmp_path)["generation"]
    assert (settings["num_inference_steps"], settings["guidance_scale"]) == (8, 3.5)
    assert (settings["width"], settings["height"]) == (64, None)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"steps": 8}, "must hold num_inference_steps, .*, got 'steps'"),
        ({"num_inference_steps": 2.5}, "num_inference_steps must be a positive number, got 2.5"),
        ({"num_inference_steps": None}, "num_inference_steps must be a positive number, got None"),
        ({"guidance_scale": "1"}, "guidance_scale must be a positive number, got '1'"),
        ({"width": 0}, "width must be a positive number, got 0"),
        ({"height": True}, "height must be a positive number, got True"),
    ],
)
def test_bad_recommendation(values, sentence, toy_weights, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        GenerationConfig.from_dict(values)
    weights = tmp_path / "weights"
    shutil.copytree(toy_weights, weights)
    (weights / GENERATION_CONFIG).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=GENERATION_CONFIG):
        convert_models(weights, tmp_path / "models")
    assert not (tmp_path / "models").exists()
