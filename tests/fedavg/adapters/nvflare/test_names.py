"""Without NVFlare the package is there, and its names say what is missing."""

from __future__ import annotations

import importlib.util

import pytest

from fedavg.adapters import nvflare
from fedavg.errors import MissingExtraError


@pytest.mark.skipif(importlib.util.find_spec("nvflare") is not None, reason="NVFlare is installed")
@pytest.mark.parametrize("name", ["SumController", "SumExecutor"])
def test_a_name_without_the_engine_says_what_to_install(name):
    with pytest.raises(MissingExtraError, match=r"pip install 'secure-fedavg\[nvflare\]'"):
        getattr(nvflare, name)


def test_other_names_are_none():
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = nvflare.Other
