"""Hypothesis profiles, and helpers whose assertions must hold under `python -O` as well.

No test is about time: a busy machine must not fail one.  Examples therefore have no deadline, and may be slow
to draw.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

if "PYTEST_XDIST_WORKER" in os.environ:
    # there are as many workers as cores: more than one thread in each would only wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell leaves it for what it starts in the background; tests of interrupts need a handler
    signal.signal(signal.SIGINT, signal.default_int_handler)

# what helpers assert holds under `python -O`, too, as in test modules
pytest.register_assert_rewrite(
    "tests.e2e", "tests.fedavg", "tests.he", "tests.hostile", "tests.interop", "tests.secagg"
)
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
settings.register_profile("long", max_examples=500, stateful_step_count=50)

# Where PYTHONDONTWRITEBYTECODE is set, pytest would rewrite the assertions of all test modules in every
# process and every run, which is most of the time of a collection.  What it keeps is in __pycache__.
_KEEPS_NO_BYTECODE = sys.dont_write_bytecode
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while modules are imported: next to nothing of it can be freed."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leave sixteen thousand collected tests out of every later collection of garbage.

    Without this each collection takes seconds, and benchmarks collect before each sample.
    """
    sys.dont_write_bytecode = _KEEPS_NO_BYTECODE
    gc.collect()
    gc.freeze()
