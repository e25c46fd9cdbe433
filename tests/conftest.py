"""Hypothesis profiles, and helpers whose assertions must hold under `python -O` as well."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest.register_assert_rewrite(
    "tests.secagg.support.lab", "tests.secagg.support.snapshots", "tests.stateful.machine"
)
settings.register_profile("long", max_examples=500, stateful_step_count=50, deadline=None)
