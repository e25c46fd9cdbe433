"""What a configuration may say about data: which examples, what their columns are, who holds what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from fedavg.data.split import SplitName
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.schema import TaskName

__all__ = ["Chosen", "DataConfig", "PartitionName"]

PartitionName = Literal["auto", "noisy-sort", "iid", "shards", "dirichlet", "quantity", "natural"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One setting that was chosen.

    Args:
        key: dotted, as in a configuration.
        value: what it is.
        why: completes "chosen because".
    """

    key: str
    value: object
    why: str

    def __str__(self) -> str:
        shown = f'"{self.value}"' if isinstance(self.value, str) else f"{self.value}"
        return f"{self.key} = {shown}, chosen because {self.why}"


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which examples, and how they lie on the clients.

    `classes` keeps these classes only, by number or by name, numbered anew in the order given; () keeps all.

    Of tables: `schema` is a file such as `fedavg data schema` writes; `target`, `client`, `group`, `weight`,
    `task`, `markers`, `file` and `columns` are what such a file says, and lie over it. `bounds` and
    `vocabulary` are short for columns of numbers and of categories, `leave_out` for columns that are ignored;
    `buckets` hashes words that are too many for a vocabulary. `declared` = false says that the columns were
    read off the rows. Without a schema, one is proposed from the rows, which noise does not allow.

    Of arrays, `bounds` are those of all features, `x`, and of all numbers to predict, `y`: public, and under
    noise the way to bring them to unit scale.

    Of a folder of images: `image_size` is height and width, and `channels` 1 for grey or 3 for colour; left
    out, they are those of the images.

    `clients` that are left out are 1,000 for a built-in set, and follow the rows of a file. `partition`
    "auto" is "natural" where the examples say whose they are, and else "noisy-sort" for a built-in set and
    "iid" for a file.
    `test_fraction` of the rows are held out to score on, or of the clients or groups, as `split` says.
    """

    name: str = "mnist-14x14"
    classes: tuple[int | str, ...] = ()
    schema: str = ""
    target: str | tuple[str, ...] = ""
    client: str = ""
    group: str = ""
    weight: str = ""
    task: TaskName = "auto"
    declared: bool = True
    markers: tuple[str, ...] = ()
    file: FileFormat = FileFormat()
    columns: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    leave_out: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    channels: int = 0
    bounds: dict[str, tuple[float, float]] = msgspec.field(
        default_factory=dict[str, tuple[float, float]]
    )
    vocabulary: dict[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])
    buckets: int = 0
    clients: int | None = None
    partition: PartitionName = "auto"
    feature_skew: Literal["none", "affine", "rotation", "noise"] = "none"
    feature_strength: float = 0.3
    spread: float = 2.0
    alpha: float = 0.5
    shards_per_client: int = 2
    split: SplitName = "row"
    test_fraction: float = 0.2
    split_seed: int = 0
