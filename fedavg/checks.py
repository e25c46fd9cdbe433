"""The door for numbers in plans, configurations and data: `dp.checks` with the errors of this package.

A check refuses another type first, then another value, names the argument and its range, and returns a plain
int or float.  `Part` has converted NumPy's scalars by the time that its `__post_init__` goes on to these.
"""

from __future__ import annotations

from dp.checks import Checks
from fedavg.errors import ConfigError, DataError, LocalProtocolError, PlanError

__all__ = ["config", "data", "plan", "usage", "value"]

plan = Checks(PlanError, PlanError)
"""Parts of a plan, and what is derived from them."""
config = Checks(ConfigError, ConfigError)
"""Training, optimisers and what else a configuration sets."""
data = Checks(DataError, DataError)
"""Data and how they are laid on clients."""
usage = Checks(LocalProtocolError, LocalProtocolError)
"""Arguments of objects that are used, not configured."""
value = Checks(ValueError, ValueError)
"""Structs that msgspec decodes: it says where in the file the value stands."""
