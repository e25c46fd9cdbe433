"""Contract suites for your own parts: inherit a class, return the part, and let pytest collect the tests.

Each suite checks the properties that this package relies on, for many sizes, and states what it cannot show.

Example:
    In one of your test modules::

        from fedavg.testing import SecureSumContract

        class TestMySum(SecureSumContract):
            def part(self):
                return MySum()
"""

from __future__ import annotations

from fedavg.testing.noise import NoiseContract
from fedavg.testing.secure_sums import SecureSumContract
from fedavg.testing.stages import UpdateStageContract

__all__ = ["NoiseContract", "SecureSumContract", "UpdateStageContract"]
