"""Tasks from a folder of images with a subfolder for each class, or for each client and class."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.data.dataset import Dataset
from fedavg.data.partitions.split import held_out, rows_hash
from fedavg.data.task import Task
from fedavg.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["load_images"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_PARTS = ({"train", "test"}, {"train", "val"}, {"train", "valid"}, {"train", "validation"})
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
_SIDE = 32  # default side of images that differ in size


def load_images(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int = 0,
    classes: Sequence[int | str] = (),
    test_fraction: float = 0.2,
    seed: int = 0,
    private: bool = False,
) -> Task:
    """Read a task from a folder of images.

    The folder has one of three layouts.  CLASS/FILE has a folder for each class.  CLIENT/CLASS/FILE also says
    which client holds each image.  train/CLASS/FILE beside test/CLASS/FILE (or val) fixes the split.

    Args:
        path: path of the folder.
        size: height and width to which every image is resized; None keeps a common size, and otherwise
            chooses 32×32 and adds a note.
        channels: 1 for grey, 3 for colour; 0 chooses grey if every image is grey.
        classes: names of the class folders, in the order of their numbers; () uses all folders found.
        test_fraction: share of the images held out for scoring, if the layout fixes no split.
        seed: public seed of that split.
        private: whether noise protects the images, in which case size, channels and classes are required.

    Raises:
        DataError: there are no images, one cannot be read, or the layout is none of the three.
        ConfigError: `private` is set, and a property of the images is not declared.
        MissingExtraError: Pillow is not installed.
    """
    files = _files(path)
    _check_declared(path, size, channels, classes, files, private=private)
    names = tuple(map(str, classes)) or tuple(sorted({label for _, label, _ in files}))
    number = {name: place for place, name in enumerate(names)}
    chosen = [entry for entry in files if entry[1] in number]
    if len(names) < 2 or not chosen:
        raise DataError(
            f"{path} has {len(names)} folder of images; a task needs two classes or more"
        )
    notes: list[str] = []
    features = _pixels([file for file, _, _ in chosen], size, channels, notes)
    whole = Dataset(features, np.array([number[label] for _, label, _ in chosen]))
    firsts = sorted({first for _, _, first in chosen})
    first = np.array([firsts.index(entry[2]) for entry in chosen])
    fixed = set(firsts) in _PARTS
    # Folders such as train and test are no clients.
    owners = None if fixed or firsts == [""] else first
    if fixed:
        held, split = first != firsts.index("train"), "as the folders divide them"
    else:
        whose = (first, firsts)
        held = held_out(rows_hash(features), whose, fraction=test_fraction, seed=seed)
        split = "by image, by a keyed hash of its content"
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    present: Any = None
    # Clients whose images are all held out have nothing to train on.
    if owners is not None:
        present, owners = np.unique(owners[train], return_inverse=True)
    return Task(
        str(path),
        whole.subset(train),
        whole.subset(test),
        len(names),
        *(f"images of {path.name}", str(path), "unknown"),
        owners=owners,
        owner_names=() if present is None else tuple(firsts[owner] for owner in present),
        label_names=names,
        split=split,
        notes=tuple(notes),
    )


def _files(path: Path) -> list[tuple[Path, str, str]]:
    """Each image with its class and the folder above the class, or "" if there is none."""
    # The order of a directory differs between systems, so the files are sorted.
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    entries = [(file, file.relative_to(path).parts) for file in found]
    depths = {len(parts) for _, parts in entries}
    if depths not in ({2}, {3}):
        held = f"{len(found):,} images at depths {', '.join(map(str, sorted(depths)))}"
        raise DataError(
            f"{path} holds {held if found else 'no images'}: lay them out as CLASS/FILE, CLIENT/CLASS/FILE, "
            f"or train/CLASS/FILE beside test/CLASS/FILE, with the suffixes {', '.join(_SUFFIXES)}"
        )
    return [(file, parts[-2], parts[0] if len(parts) == 3 else "") for file, parts in entries]


def _check_declared(
    path: Path,
    size: tuple[int, int] | None,
    channels: int,
    classes: Sequence[int | str],
    files: Sequence[tuple[Path, str, str]],
    *,
    private: bool,
) -> None:
    if channels not in (0, 1, 3):
        raise ConfigError(f"data.channels is 1 for grey or 3 for colour, not {channels}")
    if size is not None and min(size) < 1:
        raise ConfigError(f"data.image_size is height and width in pixels, not {list(size)}")
    # Under noise the form of images must not depend on any client's files.
    if not private or (size is not None and channels and classes):
        return
    found = ", ".join(f'"{name}"' for name in sorted({label for _, label, _ in files}))
    raise ConfigError(
        f"{path}: under noise, classes and the form of images are public and have to be declared, such as "
        f"[data] classes = [{found}], image_size = [28, 28], channels = 1; or choose privacy.noise = 'none' "
        "(--noise none)"
    )


def _pixels(
    files: Sequence[Path], size: tuple[int, int] | None, channels: int, notes: list[str]
) -> NDArray[np.float32]:
    """float32[n, h, w] of grey images, or float32[n, 3, h, w] of colour images, in 0 … 1."""
    images = [_opened(file) for file in files]
    # One image in colour makes all of them colour, so that every example has one shape.
    grey = channels == 1 or (not channels and all(image.mode in _GREY for image in images))
    sizes = collections.Counter((image.height, image.width) for image in images)
    if size is None:
        size = next(iter(sizes)) if len(sizes) == 1 else (_SIDE, _SIDE)
    height, width = size
    differing = sum(count for found, count in sizes.items() if found != size)
    if differing:
        notes.append(
            f"{differing:,} of {len(files):,} images are not {height}×{width} and are resized to it; "
            "choose another data.image_size"
        )
    said = "grey" if grey else "red, green and blue"
    notes.append(f"images of {height}×{width}, {said}: 0 … 255 becomes 0 … 1")
    return np.stack([_array(image, (width, height), grey=grey) for image in images])


def _opened(file: Path) -> Any:  # noqa: ANN401 - Pillow's image
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise MissingExtraError(
            "images need the package Pillow: pip install 'secure-fedavg[data]'"
        ) from error
    try:
        with Image.open(file) as image:
            image.load()
            # Cameras store pictures as they were held, with a note of the rotation, which is applied first.
            return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is no image that can be read: {error}") from error


def _array(image: Any, size: tuple[int, int], *, grey: bool) -> NDArray[np.float32]:  # noqa: ANN401 - Pillow's
    deep = image.mode.startswith("I;16")
    if deep:  # 16 bits, which Pillow's conversion would clip at 255
        values = np.asarray(image, np.uint16) >> 8
        image = _from_array(values.astype(np.uint8))
    image = image.convert("L" if grey else "RGB")
    if image.size != size:
        image = image.resize(size)
    array = np.asarray(image, np.float32) / np.float32(255.0)
    return array if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def _from_array(values: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - Pillow's image
    from PIL import Image  # noqa: PLC0415 - an optional package

    return Image.fromarray(values)
