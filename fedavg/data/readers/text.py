"""Prediction of a text's next character: windows over a fixed, public alphabet, one client for each text.

The built-in texts are the documentation topics that CPython includes, so nothing is downloaded.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "ALPHABET",
    "WINDOW",
    "codes_of",
    "read_topics",
    "split_texts",
    "topics_source",
    "windows",
]

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # code 0 stands for any other character
WINDOW = 80  # characters that a prediction sees, as in McMahan et al. 2017, §3
_STRIDE = 20  # characters from one window to the next: enough examples without using each character 80 times


def topics_source() -> str:
    """The source of the topics, with the Python version, which decides how many there are."""
    return f"documentation topics of Python {platform.python_version()} (pydoc_data.topics)"


def codes_of(text: str) -> NDArray[np.int64]:
    r"""int64[n]: the position of each character in the alphabet, from 1; 0 for any other character.

    Example:
        >>> codes_of("a b\n").tolist(), codes_of("…").tolist()
        ([67, 2, 68, 1], [0])
    """
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    table = np.zeros(128, np.int64)
    table[[ord(character) for character in ALPHABET]] = np.arange(1, len(ALPHABET) + 1)
    return np.where(points < 128, table[np.minimum(points, 127)], 0)


def windows(
    texts: Sequence[str], *, window: int = WINDOW, stride: int = _STRIDE
) -> dict[str, NDArray[np.generic]]:
    """Cut texts into examples; a text shorter than a window and one character gives none.

    Args:
        texts: one text for each client.
        window: number of characters that a prediction sees.
        stride: number of characters from one window to the next.

    Returns:
        "features", float32[n, window] of codes; "labels", int64[n], the code of the next character; "owners",
        int64[n], the index of the text; "begin" and "end", float64[n], the share of the text before the
        window, and before the end of the character that follows it.
    """
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for owner, text in enumerate(texts):
        codes = codes_of(text)
        # The last window must leave one character to predict.
        starts = np.arange(0, len(codes) - window, stride)
        if not len(starts):
            continue
        seen = np.lib.stride_tricks.sliding_window_view(codes, window + 1)[starts]
        ends = (starts + window + 1) / len(codes)
        parts.append(
            (
                seen[:, :-1].astype(np.float32),
                seen[:, -1],
                np.full(len(starts), owner, np.int64),
                starts / len(codes),
                ends,
            )
        )
    names = ("features", "labels", "owners", "begin", "end")
    return {
        name: np.concatenate(column)
        for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }


def read_topics() -> dict[str, NDArray[np.generic]]:
    """The documentation topics as examples, in the order of their names, and "names", str[topics]."""
    from pydoc_data.topics import topics  # noqa: PLC0415 - half a megabyte of text

    names = sorted(topics)
    return windows([topics[name] for name in names]) | {"names": np.array(names)}


def split_texts(
    columns: dict[str, NDArray[np.generic]], test_fraction: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and to score on: the end of every text is held out for scoring.

    A window that crosses the border is left out, so no character of a test example was trained on.

    Args:
        columns: result of `windows`.
        test_fraction: share of each text to hold out.
    """
    # Windows that reach over the division are in neither part, so no character is seen in both.
    train = columns["end"].astype(np.float64) <= 1 - test_fraction
    test = columns["begin"].astype(np.float64) >= 1 - test_fraction
    return np.flatnonzero(train), np.flatnonzero(test)
