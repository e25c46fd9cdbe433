"""Sums inside NVFlare 2.9: a controller on the server, and an executor that stays at each site.

NVFlare is imported when one of the names is first used, and refused there in other versions. All that does
not need it is in `fedavg.adapters.polling`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from fedavg.adapters.engines import NVFLARE

if TYPE_CHECKING:
    from fedavg.adapters.nvflare.controller import SumController
    from fedavg.adapters.nvflare.executor import SumExecutor

__all__ = ["SumController", "SumExecutor"]

_HOMES = {"SumController": "controller", "SumExecutor": "executor"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    NVFLARE.version()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
