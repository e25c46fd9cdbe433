"""How many threads torch computes with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["one_thread"]


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Small products are many times slower on several threads; processes use the cores instead."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
