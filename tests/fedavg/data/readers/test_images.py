"""Folders of images: layouts, sizes, colours, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from fedavg.data.placement import place
from fedavg.data.readers.images import load_images
from fedavg.data.settings import DataConfig
from fedavg.errors import ConfigError, DataError
from fedavg.sums.plain import InsecurePlain

RNG = np.random.default_rng(0)


def write(path, *, mode="L", size=(6, 5), value=None):
    """An image of that height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    pixels = RNG.integers(0, 256, shape) if value is None else np.full(shape, value)
    Image.fromarray(pixels.astype(np.uint16 if mode == "I;16" else np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        for n in range(40):
            write(tmp_path / "pets" / name / f"{n}.png")
    return tmp_path / "pets"


def test_a_folder_for_each_class(folder):
    task = load_images(folder)
    assert task.label_names == ("cat", "dog")
    assert task.train.features.shape[1:] == (6, 5)
    assert len(task.train) + len(task.test) == 80
    assert 0.0 <= task.train.features.min() < task.train.features.max() <= 1.0
    assert task.owners is None
    assert "6×5, grey" in task.notes[0]
    write(folder / "dog" / "more.png")
    more = load_images(folder)
    known = {row.tobytes() for row in more.test.features}
    assert {row.tobytes() for row in task.test.features} <= known  # nobody else's image moves


def test_a_folder_for_each_client_says_whose_an_image_is(tmp_path):
    for client in ("a", "b", "c"):
        for name in ("cat", "dog"):
            for n in range(10):
                write(tmp_path / client / name / f"{n}.png")
    placed = place(DataConfig(name=str(tmp_path)), InsecurePlain())
    assert placed.names == ("a", "b", "c")
    assert placed.config.partition == "natural"
    assert sum(len(data) for data in placed.clients.values()) == len(placed.task.train)
    with pytest.raises(
        ConfigError, match=r"of 3 clients to train on, .* or choose another data.partition"
    ):
        place(DataConfig(name=str(tmp_path), clients=2), InsecurePlain())
    spread = place(DataConfig(name=str(tmp_path), clients=2, partition="iid"), InsecurePlain())
    assert len(spread.clients) == 2


def test_folders_that_divide_the_images_are_kept_to(tmp_path):
    for part, count in (("train", 8), ("val", 3)):
        for name in ("cat", "dog"):
            for n in range(count):
                write(tmp_path / part / name / f"{n}.png")
    task = load_images(tmp_path)
    assert (len(task.train), len(task.test), task.owners) == (16, 6, None)


def test_sizes_and_colours(folder):
    write(folder / "dog" / "large.png", mode="RGB", size=(60, 50))
    task = load_images(folder)
    assert task.train.features.shape[1:] == (3, 32, 32)
    assert "81 of 81 images are not 32×32" in task.notes[0]
    task = load_images(folder, size=(6, 5), channels=1)
    assert task.train.features.shape[1:] == (6, 5)
    assert "1 of 81 images" in task.notes[0]


def test_sixteen_bits_are_not_clipped_at_eight(tmp_path):
    for n in range(12):
        write(tmp_path / "dark" / f"{n}.png", mode="I;16", value=256 * n)
        write(tmp_path / "bright" / f"{n}.png", mode="I;16", value=65535 - 256 * n)
    task = load_images(tmp_path)
    dark = task.train.features[task.train.labels == task.label_names.index("dark")]
    assert dark.max() <= 11 / 255 + 1e-6


def test_classes_by_name_and_in_order(folder):
    for n in range(9):
        write(folder / "eel" / f"{n}.png")
    assert load_images(folder, classes=("eel", "cat")).label_names == ("eel", "cat")


def test_under_noise_everything_public_is_declared(folder):
    with pytest.raises(ConfigError, match='classes = \\["cat", "dog"\\], image_size'):
        load_images(folder, private=True)
    task = load_images(folder, size=(6, 5), channels=1, classes=("cat", "dog", "eel"), private=True)
    assert task.outputs == 3  # although nobody has one
    with pytest.raises(ConfigError, match="under noise, classes and the form"):
        place(DataConfig(name=str(folder)), None)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"channels": 2}, "1 for grey or 3"), ({"size": (0, 5)}, "height and width")],
)
def test_values_outside_their_range(folder, options, word):
    with pytest.raises(ConfigError, match=word):
        load_images(folder, **options)


def test_what_is_no_folder_of_images(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load_images(tmp_path / "empty")
    write(tmp_path / "empty" / "one" / "0.png")
    with pytest.raises(DataError, match="two classes or more"):
        load_images(tmp_path / "empty")
    write(folder / "stray.png")
    with pytest.raises(DataError, match="depths 1, 2"):
        load_images(folder)
    (folder / "stray.png").unlink()
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken.png is no image"):
        load_images(folder)
