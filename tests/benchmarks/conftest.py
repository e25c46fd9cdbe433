"""Commands of suites run in this process, whose environment they leave as it is."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.kit.command._ENVIRONMENT", {})
