"""Checks of numbers in plans, configurations and data: `dp.checks` with the errors of this package.

A check refuses a wrong type first and a wrong value second. The message names the argument and its range.
A check returns a plain int or float. `Part` converts NumPy's scalars before its `__post_init__` calls them.
"""

from __future__ import annotations

from dp.checks import Checks
from fedavg.errors import ConfigError, DataError, LocalProtocolError, PlanError

__all__ = ["config", "data", "plan", "usage", "value"]

plan = Checks(PlanError, PlanError)
"""For parts of a plan, and for numbers that are derived from them."""
config = Checks(ConfigError, ConfigError)
"""For training, optimisers and the other settings of a configuration."""
data = Checks(DataError, DataError)
"""For data, and for how data is divided among clients."""
usage = Checks(LocalProtocolError, LocalProtocolError)
"""For arguments of objects that a caller uses but does not configure."""
value = Checks(ValueError, ValueError)
"""For structs that msgspec decodes: msgspec adds where in the file the value is."""
