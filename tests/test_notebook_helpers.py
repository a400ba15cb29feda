"""What the notebook shows, on toy models."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from animate_anyone import notebook


def test_data_flow_has_every_network():
    picture = ElementTree.fromstring(notebook.draw_data_flow().data)
    words = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"reference UNet", "denoising UNet", "pose guider", "VAE encoder"} < words
    assert {end for arrow in notebook.ARROWS for end in arrow[:2]} == set(notebook.BOXES)


def test_ports_are_printed_with_open_sizes(toy_models, capsys):
    notebook.print_ports(toy_models, "vae_decoder", "pose_guider")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["vae_decoder", "in", "latent", "[?,4,?,?]"]
    assert [line[2] for line in lines] == ["latent", "image", "pose_images", "pose_features"]


@pytest.mark.parametrize("name", ["pose_guider", "reference_unet"])
def test_difference_of_a_faithful_and_a_compressed_part(
    toy_weights, toy_models, toy_models_int8, name
):
    exact = notebook.relative_difference(name, toy_weights, toy_models)
    compressed = notebook.relative_difference(name, toy_weights, toy_models_int8)
    assert exact < 1e-4 < compressed < 0.05


def test_strip_and_feature_pictures():
    rng = np.random.default_rng(0)
    features = {"first": rng.normal(size=(1, 48, 16)), "second": rng.normal(size=(1, 12, 16))}
    pictures = notebook.feature_pictures(features, (64, 48))
    assert [picture.size for picture in pictures] == [(64, 48)] * 2
    assert np.asarray(pictures[0]).std() > 20
    row = notebook.strip([Image.new("RGB", (64, 48)), Image.new("RGB", (48, 48), "red")], height=24)
    assert row.size == (32 + 24, 24)
    assert row.getpixel((50, 10)) == (255, 0, 0)
