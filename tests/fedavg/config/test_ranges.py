"""Every number of every table is refused out of its range, whether or not the run reads it."""

from __future__ import annotations

import math
import types
from typing import Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from fedavg.config.build import load_config
from fedavg.config.ranges import RANGES
from fedavg.config.settings import Config
from fedavg.errors import ConfigError, FedAvgError


def _numeric(hint):
    """The type of number that an annotation holds, alone or in a tuple; None for other types."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType, tuple):
        found = [_numeric(part) for part in get_args(hint) if part not in (type(None), Ellipsis)]
        return found[0] if found and found[0] and len(set(found)) == 1 else None
    return hint if hint in (int, float) else None


def _is_list(hint):
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return any(get_origin(part) is tuple for part in parts)


def _keys():
    """Each key that holds numbers: dotted name, type of number, and whether it is a list."""
    found = {}
    tables = {"": Config} | {
        name: kind
        for name, kind in get_type_hints(Config).items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    for table, kind in tables.items():
        for name, hint in get_type_hints(kind).items():
            number = _numeric(hint)
            if number is not None:
                found[f"{table}.{name}".lstrip(".")] = number, _is_list(hint)
    return found


KEYS = _keys()
MEANINGFUL = {  # what a test of extremes would refuse, and is said to mean something
    ("privacy.epsilon", math.inf): "no limit: noise is accounted and nothing is refused",
    ("privacy.epsilon", 1e300): "practically no limit",
    ("seed", 2**62): "any seed",
    ("data.split_seed", 2**62): "any seed",
    ("blocks.seed", 2**62): "any seed",
}
EXTREMES = {int: (-(10**9), 2**62), float: (math.nan, math.inf, -math.inf, -1e9, 1e300)}


def test_every_number_has_a_range():
    """A new key is found here: its range belongs into the table."""
    assert set(KEYS) == set(RANGES)


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, (kind, _) in KEYS.items() for value in EXTREMES[kind]],
    ids=str,
)
def test_a_number_out_of_range_is_refused_by_its_key(key, value):
    """Mutant: without the table, seven keys take NaN, since nothing reads them beside the others."""
    given = [value, value] if KEYS[key][1] else value
    if (key, value) in MEANINGFUL:
        load_config(None, {key: given, "blocks.count": 2})
        return
    with pytest.raises(ConfigError, match=rf"^{key}\b"):
        load_config(None, {key: given})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("secure_sum.share", 1.0),
        ("secure_sum.share", 0.0),
        ("secure_sum.share", 1e-12),
        ("encoding.range", 0.0),
        ("encoding.bits", 41),
        ("privacy.clip", 1e-101),
        ("data.channels", 2),
        ("data.buckets", 1),
        ("cohort.rate", 0.0),
        ("simulation.dropout", 1.0),
        ("privacy.delta", 0.0),
    ],
)
def test_the_edges_of_a_range_are_named(key, value):
    with pytest.raises(ConfigError, match=rf"^{key} must"):
        load_config(None, {key: value})


def test_the_example_lies_within_all_ranges():
    assert isinstance(load_config(None), Config)
    assert issubclass(ConfigError, FedAvgError)
