"""The number of threads that torch computes with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["one_thread"]


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Use one thread: small products are many times slower on several, and processes use the other cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
