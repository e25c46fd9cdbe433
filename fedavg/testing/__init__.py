"""Contract suites for parts of one's own: inherit a class, say which part, and let pytest collect its tests.

Each suite checks what this package relies on, over many sizes, and says what it cannot show.

Example:
    In a test module of yours::

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
