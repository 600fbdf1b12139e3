"""The commands `predict` and `export`: they answer as the training would."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sop_classify.data.image_data import ImageData
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import with_settings
from sop_classify.runs.job import Job
from sop_classify.runs.model import read_model
from sop_classify.runs.run import Run
from tests.helpers.command_line import done, refused, run
from tests.helpers.labels import small_data


@pytest.fixture(scope="module")
def data():
    return small_data(96)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = with_settings(recipe_for("cpu", "ce"), ["epochs=3", "batch_size=32"])
    started = Run(Job(data, data.train_labels, recipe, device="cpu"), folder)
    started.start()
    list(started.epochs())
    return started


@pytest.fixture
def pictures(data, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for at, image in enumerate(data.test_images):
        place = folder / ("deep" if at % 2 else "") / f"{at:02}.png"
        Image.fromarray(image).save(place)
    (folder / ".hidden.png").write_bytes(b"x")
    return folder


def at(path):
    return int(path.rpartition("/")[2].removesuffix(".png"))


def test_predict_says_what_the_training_predicts(trained, pictures, data, tmp_path, one_thread):
    table = tmp_path / "table.csv"
    result = done("predict", trained.folder, pictures, "--csv", table, "--top", 2, "--json")
    found = json.loads(result.stdout)
    assert len(found) == len(data.test_images)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = trained.training.predict(data.test_images).numpy()
    for row, line in zip(rows, found, strict=True):
        p = expected[at(row["path"])]
        assert row["path"] == line["path"]
        assert row["class_1"] == line["classes"][0] == data.class_names[p.argmax()]
        # bfloat16 in training on some processors, float32 here.
        assert float(row["p_1"]) == pytest.approx(p.max(), abs=0.05)
        assert float(row["p_1"]) >= float(row["p_2"])
        assert set(row) == {"path", "class_1", "p_1", "class_2", "p_2"}
    lines = done("predict", trained.folder, pictures / "00.png", "--top", 9).stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{pictures / '00.png'}: c")
    assert lines[0].count("%") == 3
    assert "exists already" in refused("predict", trained.folder, pictures, "--csv", table)


def test_no_input_is_replaced_by_the_table(trained, pictures):
    for source in (pictures / "00.png", trained.folder / "model.safetensors"):
        before = source.read_bytes()
        message = refused("predict", trained.folder, pictures, "--csv", source, "--force")
        assert "it is an input" in message
        assert source.read_bytes() == before


def test_other_sizes_and_modes_are_resized_as_for_the_training(trained, data, tmp_path, one_thread):
    """A class is a colour, so a picture of twice the size, of 16 bits or with alpha keeps it."""
    images = {}
    for label in range(3):
        image = Image.fromarray(data.test_images[label]).resize((32, 48), Image.Resampling.NEAREST)
        image.putalpha(255)
        images[label] = tmp_path / f"{label}.png"
        image.save(images[label])
    result = done("predict", trained.folder, *images.values(), "--json")
    sizes = [len(line["classes"]) for line in json.loads(result.stdout)]
    assert sizes == [3, 3, 3]


def test_images_of_16_bits_are_scaled_as_for_the_training(data, tmp_path, one_thread):
    """Alone, this picture would count as one of 12 bits, and be twice as bright."""
    recipe = with_settings(recipe_for("cpu", "ce"), ["epochs=1", "batch_size=32"])
    job = Job(replace(data, sample_bits=13), data.train_labels, recipe, device="cpu")
    started = Run(job, tmp_path / "run")
    started.start()
    list(started.epochs())
    samples = np.random.default_rng(0).integers(0, 4096, (16, 16), dtype=np.uint16)
    Image.fromarray(samples).save(tmp_path / "x.png")
    (found,) = json.loads(done("predict", tmp_path / "run", tmp_path / "x.png", "--json").stdout)
    seen = np.repeat((samples >> 5).astype(np.uint8)[None, ..., None], 3, axis=3)
    expected = started.training.predict(seen).numpy()[0]
    assert found["probabilities"][0] == pytest.approx(expected.max(), abs=2e-3)


def test_a_bad_file_costs_a_line_and_the_status(trained, pictures, tmp_path):
    (pictures / "broken.png").write_bytes(b"no image")
    table = tmp_path / "table.csv"
    result = run("predict", trained.folder, pictures, "missing.png", "--csv", table)
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("error: cannot read ") for line in errors)
    assert len(result.stdout.splitlines()) == 30
    assert len(table.read_text().splitlines()) == 31


def test_a_name_with_control_characters_stays_on_its_line(trained, pictures, tmp_path):
    strange = tmp_path / "a\nb\x1b[31m.png"
    (pictures / "00.png").rename(strange)
    line, end = done("predict", trained.folder, strange).stdout.split("\n")
    assert line.startswith(f"{tmp_path}/a\\nb\\x1b[31m.png: c")
    assert end == ""
    (found,) = json.loads(done("predict", trained.folder, strange, "--json").stdout)
    assert found["path"] == str(strange)


def test_links_to_folders_are_followed_once(trained, pictures, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("a", "b"):
        (linked / name).symlink_to(pictures)
    (pictures / "deep" / "up").symlink_to(pictures)
    result = done("predict", trained.folder, linked, "--json")
    paths = [Path(line["path"]) for line in json.loads(result.stdout)]
    assert len(paths) == 30
    assert {path.relative_to(linked).parts[0] for path in paths} == {"a"}


def test_a_pattern_takes_each_file_once(trained, pictures):
    (pictures / "deep" / "up").symlink_to(pictures)
    number = len(list(pictures.rglob("[0-9]*.png")))
    for pattern in ("**", "**/*", "**/*.png"):
        result = done("predict", trained.folder, f"{pictures}/{pattern}")
        assert len(result.stdout.splitlines()) == number, pattern


def test_an_empty_word_is_no_folder(trained, pictures):
    line = refused("predict", trained, "", next(pictures.iterdir()))
    assert "one of IMAGES is ''" in line


def test_a_pattern_in_quotes_and_a_file_with_brackets_in_its_name(trained, pictures):
    (pictures / "00.png").rename(pictures / "[00].png")
    deep = len(list((pictures / "deep").iterdir()))
    for given, number in (("0*.png", 4), ("**/0*.png", 9), ("[00].png", 1), ("de*", deep)):
        found = json.loads(done("predict", trained.folder, pictures / given, "--json").stdout)
        assert len(found) == number, given
    assert "no file matches" in refused("predict", trained.folder, pictures / "*.jpg")


def test_a_table_that_its_folder_no_longer_takes_is_elsewhere(
    trained, pictures, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("overparam.files.check_target", lambda *_, **__: None)  # as it was then
    picture = pictures / "00.png"
    result = run("predict", trained.folder, picture, "--csv", tmp_path / "gone" / "table.csv")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{picture}: ")
    assert "the result is in 'table.csv'" in result.stderr
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2


def test_a_run_without_a_model_and_no_run(trained, pictures, tmp_path):
    message = refused("predict", tmp_path, pictures)
    assert "no model yet" in message
    assert "No such file" in refused("predict", tmp_path / "none", pictures)
    model = trained.folder / "model.safetensors"
    assert f"{str(model)!r}: it is a file; give" in refused("predict", model, pictures)
    (tmp_path / "empty").mkdir()
    assert "there is no file in" in refused("predict", trained.folder, tmp_path / "empty")
    for content in (b"junk", trained.folder.joinpath("checkpoint.safetensors").read_bytes()):
        (tmp_path / "model.safetensors").write_bytes(content)
        assert "model.safetensors" in refused("predict", tmp_path, pictures)
    damaged = bytearray(trained.folder.joinpath("model.safetensors").read_bytes())
    damaged[-10] ^= 1
    (tmp_path / "model.safetensors").write_bytes(damaged)
    assert "damaged" in refused("predict", tmp_path, pictures)


def test_images_of_two_sides(tmp_path, one_thread):
    """Arrays need not be squares; then files are cropped to what the network knows."""
    square = small_data(48)
    parts = (square.train_images[:, 2:14], square.test_images[:, 2:14])
    data = ImageData(
        parts[0], square.train_labels, parts[1], square.test_labels, square.class_names, "x"
    )
    recipe = with_settings(recipe_for("cpu", "ce"), ["epochs=1", "batch_size=32"])
    started = Run(Job(data, data.train_labels, recipe, device="cpu"), tmp_path / "run")
    started.start()
    list(started.epochs())
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    done("predict", tmp_path / "run", tmp_path / "x.png")
    assert read_model(tmp_path / "run").image_size == (12, 16)


def test_onnx_equals_pytorch_for_any_number_of_images(trained, data, tmp_path, one_thread):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    file = tmp_path / "model.onnx"
    assert "of PyTorch" in done("export", trained.folder, "--onnx", file).stdout
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    model = read_model(trained.folder)
    for number in (1, 2, 7):
        images = data.test_images[:number]
        x = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
        (there,) = session.run(None, {"images": x})
        np.testing.assert_allclose(there, model.predict(images), atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == ["c0", "c1", "c2"]
    assert json.loads(metadata["image_size"]) == [16, 16]
    assert "exists already" in refused("export", trained.folder, "--onnx", file)
    assert "unknown suffix" in refused("export", trained.folder, "--onnx", tmp_path / "model.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["efficientnet-lite0", "torchvision/mobilenet_v3_small", "preact-resnet18"]
)
def test_onnx_of_other_networks(network, tmp_path, one_thread):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    data = small_data(40, tests=6, side=32)
    recipe = with_settings(
        recipe_for("cpu", "ce"),
        [f"network={network}", "epochs=1", "batch_size=20", "optimizer=sgd"],
    )
    started = Run(Job(data, data.train_labels, recipe, device="cpu"), tmp_path / "run")
    started.start()
    list(started.epochs())
    done("export", tmp_path / "run", "--onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_onnx_without_its_packages(trained, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    message = refused("export", trained.folder, "--onnx", tmp_path / "model.onnx")
    assert "pip install 'robustdip[onnx]'" in message
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("command", [("predict", "{run}", "x.png"), ("export", "{run}", "--onnx")])
def test_a_run_that_is_not_there_is_named_once(tmp_path, command):
    words = [word.format(run=tmp_path / "none") for word in command]
    line = refused(*words, *([tmp_path / "x.onnx"] if words[-1] == "--onnx" else []))
    assert line.count("cannot read") == 1
