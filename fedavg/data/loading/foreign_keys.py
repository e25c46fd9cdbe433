"""Settings of the table [data] that belong to another kind of data: they are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedavg.data.readers.sources import SOURCES
from fedavg.data.settings import DataConfig
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from fedavg.data.task import Task

__all__ = ["of_tables", "refuse_beside_time", "refuse_of_folders", "refuse_of_splits"]

_FOR_TABLES = (
    *("schema", "target", "client", "group", "weight", "markers", "file", "columns", "bounds"),
    *("vocabulary", "buckets", "split", "leave_out", "time", "test_from"),
)


def of_tables(data: DataConfig) -> list[str]:
    """The given keys that apply only to the user's own tables."""
    default = DataConfig()
    return [key for key in _FOR_TABLES if getattr(data, key) != getattr(default, key)]


def refuse_of_folders(data: DataConfig) -> None:
    """Refuse the settings of a folder of images for any other data, and other tasks than classes for it.

    Raises:
        ConfigError: such a setting is given; the message names it.
    """
    if Path(data.name).is_dir() and data.name not in SOURCES:
        if data.task not in ("auto", "classes"):
            raise ConfigError(
                f"folders of images are classes: leave out data.task = {data.task!r}, or save arrays (.npz)"
            )
        return
    for key, given in (("image_size", data.image_size is not None), ("channels", data.channels)):
        if given:
            raise ConfigError(
                f"data.{key} is for a folder of images, and {data.name} is none: leave it out. Arrays keep "
                "the size and the channels that they have in the file"
            )
    if data.name in SOURCES and data.task != "auto":
        raise ConfigError(
            f"{data.name} is built in and says itself what is predicted: leave out data.task"
        )


def refuse_beside_time(data: DataConfig, column: str) -> None:
    """Refuse a share of rows beside a day from which rows are held out, and a day without a column of dates.

    Args:
        data: the configuration.
        column: the column of dates that the configuration or its schema names; "" for none.

    Raises:
        ConfigError: such a setting is given; the message names it.
    """
    if not data.test_from:
        return
    if not column:
        raise ConfigError(
            f"data.test_from = {data.test_from!r} holds out later rows: name the column of their dates, such "
            'as [data] time = "month"'
        )
    default = DataConfig()
    for key in ("split", "test_fraction", "split_seed"):
        if getattr(data, key) != getattr(default, key):
            raise ConfigError(
                f"data.test_from = {data.test_from!r} says which rows are held out, all later ones: leave "
                f"out data.{key}"
            )


def refuse_of_splits(data: DataConfig, task: Task) -> None:
    """Refuse a share of examples to hold out, where the data itself says which ones are.

    Raises:
        ConfigError: such a setting is given; the message names it.
    """
    default = DataConfig()
    for key in ("test_fraction", "split_seed"):
        if task.split.startswith("as the ") and getattr(data, key) != getattr(default, key):
            raise ConfigError(
                f"{data.name} says itself which examples are held out ({task.split}): leave out data.{key}"
            )
