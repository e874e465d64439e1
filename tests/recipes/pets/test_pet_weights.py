"""The public layouts of weights, each against a forward pass in plain numpy in a layout of its own."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
import torch
from plain_networks import caffe_squeezenet, keras_vgg16
from safetensors.torch import save
from small_networks import (
    caffe_weights,
    compressed,
    keras_weights,
    narrow_vgg16,
    small_squeezenet,
    torchvision_vgg16,
)

from echelon.errors import DataError, EchelonError
from echelon.recipes.pets.networks.choice import NETWORKS, network_of, random_weights, shapes_of
from echelon.recipes.pets.networks.weights import weights_of

CAFFE_VGG16, CAFFE_SQUEEZENET = (123.68, 116.779, 103.939), (123.0, 117.0, 104.0)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setitem(NETWORKS, "vgg16", narrow_vgg16())
    for model in ("squeezenet", "squeezenet-max"):
        monkeypatch.setitem(NETWORKS, model, small_squeezenet(model))


def pixels(side, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def features(model, path, images, scaling=None):
    network = network_of(model, weights_of(model, str(path), scaling))
    with torch.inference_mode():
        return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def tensors(weights):
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}


def assert_same(found, wanted):
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max())


def write_keras(path, weights, naming):
    with h5py.File(path, "w") as file:
        for layer, (kernel, bias) in weights.items():
            names = naming(layer)
            for name, value in zip(names, (kernel, bias), strict=True):
                file[name] = value
        file["top_level_model_weights/seed"] = np.arange(3)


KERAS = {
    "as published (Keras 1)": lambda layer: (f"{layer}/{layer}_W_1:0", f"{layer}/{layer}_b_1:0"),
    "Keras 2": lambda layer: (f"{layer}/{layer}/kernel:0", f"{layer}/{layer}/bias:0"),
    "a whole model": lambda layer: (
        f"model_weights/{layer}/vgg16/{layer}/kernel:0",
        f"model_weights/{layer}/vgg16/{layer}/bias:0",
    ),
}


@pytest.mark.parametrize("naming", KERAS.values(), ids=KERAS)
def test_vgg16_of_keras_computes_what_keras_documents(tmp_path, naming):
    weights, images = keras_weights(), pixels(64)
    write_keras(tmp_path / "vgg16.h5", weights, naming)
    wanted = [keras_vgg16(weights, image.astype(float), CAFFE_VGG16) for image in images]
    assert_same(features("vgg16", tmp_path / "vgg16.h5", images), np.array(wanted))


def torchvision_wanted(weights, images):
    """Torchvision scales otherwise, and sees red first: both are undone for the plain pass, which takes means away."""
    scaled = (images / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return np.array([keras_vgg16(weights, image, (0, 0, 0)) for image in scaled])


def red_first(weights):
    kernel, bias = weights["block1_conv1"]
    return {**weights, "block1_conv1": (kernel[:, :, ::-1], bias)}


def write_pth(path, named, legacy=False, wrapped=False):
    content = tensors(named)
    if wrapped:
        content = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in content.items()}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


@pytest.mark.parametrize("how", ["legacy", "zip", "wrapped", "safetensors", "half", "timm"])
def test_vgg16_of_torchvision_and_timm_computes_what_torchvision_documents(tmp_path, how):
    weights, images, path = keras_weights(1), pixels(64), tmp_path / "weights"
    named = torchvision_vgg16(red_first(weights))
    if how == "timm":
        for ours, theirs in (("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2")):
            matrix = named.pop(f"{ours}.weight")
            side = 2 if ours == "classifier.0" else 1
            named[f"{theirs}.weight"] = matrix.reshape(len(matrix), -1, side, side)
            named[f"{theirs}.bias"] = named.pop(f"{ours}.bias")
        path.write_bytes(save(tensors(named)))
    elif how == "safetensors":
        path.write_bytes(save(tensors(named)))
    elif how == "half":
        weights = {
            name: tuple(v.astype(np.float16).astype(np.float32) for v in layer) for name, layer in weights.items()
        }
        named = torchvision_vgg16(red_first(weights))
        path.write_bytes(save({name: value.half() for name, value in tensors(named).items()}))
    else:
        write_pth(path, named, legacy=how == "legacy", wrapped=how == "wrapped")
    assert_same(features("vgg16", path, images), torchvision_wanted(weights, images))


def test_weights_that_were_converted_keep_their_scaling_if_it_is_said(tmp_path):
    """Torchvision's names say nothing of the pixels: some publish Caffe's weights under them, blue first."""
    weights, images = keras_weights(2), pixels(64)
    write_pth(tmp_path / "caffe.pth", torchvision_vgg16(weights))
    wanted = np.array([keras_vgg16(weights, image.astype(float), CAFFE_VGG16) for image in images])
    assert_same(features("vgg16", tmp_path / "caffe.pth", images, "caffe"), wanted)
    otherwise = features("vgg16", tmp_path / "caffe.pth", images)
    assert np.abs(otherwise - wanted).max() > 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("how", ["npz", "net"])
def test_squeezenet_of_caffe_computes_what_its_prototxt_says(tmp_path, how):
    weights, images, path = caffe_weights(), pixels(67), tmp_path / f"squeezenet.{how}"
    if how == "net":
        content, weights = compressed(weights)
        path.write_bytes(content)
    else:
        np.savez(
            path, **{f"{layer}/{end}": v for layer, pair in weights.items() for end, v in zip("wb", pair, strict=True)}
        )
    wanted = [caffe_squeezenet(weights, image.astype(float), CAFFE_SQUEEZENET) for image in images]
    assert_same(features("squeezenet", path, images), np.array(wanted))


def test_means_and_maxima_have_the_same_weight_whatever_their_size(tmp_path):
    weights, images, path = caffe_weights(2), pixels(67), tmp_path / "squeezenet.npz"
    np.savez(
        path, **{f"{layer}/{end}": v for layer, pair in weights.items() for end, v in zip("wb", pair, strict=True)}
    )
    found = features("squeezenet-max", path, images)
    for image, row in zip(images, found, strict=True):
        places = caffe_squeezenet(weights, image.astype(float), CAFFE_SQUEEZENET, grid=(3, 3)).reshape(512, 9)
        halves = places.mean(1), places.max(1)
        np.testing.assert_allclose(
            row, np.concatenate([half / np.linalg.norm(half) for half in halves]), rtol=1e-3, atol=1e-5
        )


def test_squeezenet_of_torchvision(tmp_path):
    weights, images = caffe_weights(4), pixels(67)
    places = dict(zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True))
    named = {"features.0.weight": weights["conv1"][0][:, ::-1], "features.0.bias": weights["conv1"][1]}
    for layer, (kernel, bias) in weights.items():
        if layer.startswith("fire"):
            number, _, part = layer.removeprefix("fire").partition("/")
            ours = f"features.{places[int(number)]}.{part.replace('squeeze1x1', 'squeeze')}"
            named |= {f"{ours}.weight": kernel, f"{ours}.bias": bias}
    write_pth(tmp_path / "squeezenet1_0.pth", {name: np.ascontiguousarray(v) for name, v in named.items()})
    scaled = (images / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    wanted = np.array([caffe_squeezenet(weights, image, (0, 0, 0)) for image in scaled])
    assert_same(features("squeezenet", tmp_path / "squeezenet1_0.pth", images), wanted)


def without(weights, *names):
    return {name: value for name, value in weights.items() if not name.startswith(names)}


def saved(named):
    file = io.BytesIO()
    torch.save(tensors(named), file)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class Code:
    def __reduce__(self):
        return print, ("code ran",)


def pickled():
    file = io.BytesIO()
    torch.save({"features.0.weight": Code()}, file)
    return file.getvalue()


WRONG = {
    "the top is missing": (
        lambda w: saved(without(torchvision_vgg16(w), "classifier.0")),
        "lack classifier.0.weight.*top",
    ),
    "another network": (lambda w: npz(**{"conv1/w": np.zeros((96, 3, 7, 7))}), "no weights of vgg16.*conv1/w"),
    "other shapes": (
        lambda w: saved({**torchvision_vgg16(w), "features.2.bias": np.zeros(7, np.float32)}),
        r"features.2.bias has the shape \[7\] instead of \[4\]",
    ),
    "not finite": (
        lambda w: saved({**torchvision_vgg16(w), "features.2.bias": np.full(4, np.nan, np.float32)}),
        "features.2.bias.*not finite",
    ),
    "cut off": (lambda w: saved(torchvision_vgg16(w))[:-4000], "cannot be read.*cut off"),
    "cut off safetensors": (lambda w: save(tensors(torchvision_vgg16(w)))[:-4], "cannot be read"),
    "code": (lambda w: pickled(), "cannot be read"),
    "text": (lambda w: b"hello", "no .pth, .h5"),
    "empty": (lambda w: b"", "no .pth, .h5"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_other_files_are_refused_with_what_is_wrong(tmp_path, make, message, capsys):
    path = tmp_path / "weights"
    path.write_bytes(make(keras_weights()))
    with pytest.raises(DataError, match=message) as error:
        weights_of("vgg16", str(path))
    assert str(path) in str(error.value)
    assert "code ran" not in capsys.readouterr().out


def test_compressed_weights_that_break_off_or_go_on_are_refused(tmp_path):
    content, _ = compressed(caffe_weights())
    for wrong, message in (
        (content[:-1], "ends after"),
        (content + b"x", "1 bytes more"),
        (b"\xff" * 500, "ends after"),
    ):
        (tmp_path / "squeezenet.net").write_bytes(wrong)
        with pytest.raises(DataError, match=message):
            weights_of("squeezenet", str(tmp_path / "squeezenet.net"))


def test_a_folder_and_a_missing_file_are_no_weights(tmp_path):
    for path in (tmp_path, tmp_path / "missing.pth"):
        with pytest.raises(EchelonError, match="give one file"):
            weights_of("vgg16", str(path))


def test_an_image_and_its_mirror_image_have_the_same_features_if_they_are_means_of_both():
    vector, images = random_weights("squeezenet"), torch.from_numpy(pixels(67).transpose(0, 3, 1, 2).copy())
    plain, mirrored = (network_of("squeezenet", vector, mirrored=either) for either in (False, True))
    with torch.inference_mode():
        both = (plain(images) + plain(images.flip(3))) / 2
        torch.testing.assert_close(mirrored(images), both, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mirrored(images), mirrored(images.flip(3)), rtol=1e-5, atol=1e-5)
        assert (plain(images) - mirrored(images)).abs().max() > 0.1


def test_random_weights_are_the_same_for_a_seed_and_keep_the_scale():
    first, again, other = (random_weights("squeezenet", seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    network = network_of("squeezenet", first)
    made = network(torch.from_numpy(pixels(67).transpose(0, 3, 1, 2).copy()))
    assert 0.1 < made.std() < 10


def test_the_public_networks_have_as_many_weights_as_their_papers_say(monkeypatch):
    monkeypatch.undo()
    # VGG16 has 138,357,544 with its last layer of 1,000 classes; SqueezeNet v1.0 has 1,248,424.
    for model, wanted in (("vgg16", 138_357_544 - 4097 * 1000), ("squeezenet", 1_248_424 - 513 * 1000)):
        assert sum(int(np.prod(shape)) for shape in shapes_of(model).values()) == wanted + 6
