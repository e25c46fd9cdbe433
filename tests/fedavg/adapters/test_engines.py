"""An engine that is missing, or of another version, is named with the command that installs it."""

from __future__ import annotations

from importlib import metadata

import pytest

from fedavg.adapters.engines import FLOWER, NVFLARE, RAY
from fedavg.errors import MissingExtraError
from tests.arch.tree import ROOT

ENGINES = pytest.mark.parametrize("engine", [FLOWER, NVFLARE, RAY], ids=lambda one: one.package)


def _install(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)


@ENGINES
def test_a_version_that_fits_is_returned(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    major, minor = engine.first
    _install(monkeypatch, f"{major}.{minor}.7")
    assert engine.version() == f"{major}.{minor}.7"


@pytest.mark.parametrize(
    ("engine", "found"),
    [
        (FLOWER, "1.41.0"),
        (FLOWER, "1.43.0"),
        (FLOWER, "2.0"),
        (NVFLARE, "2.10.1"),
        (RAY, "2.9.3"),
        (RAY, "dev"),
    ],
    ids=str,
)
def test_another_version_is_refused(engine, found, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, found)
    with pytest.raises(
        MissingExtraError, match=rf"{engine.title} >=.* but {found} is installed: pip"
    ):
        engine.version()


@ENGINES
def test_a_missing_engine_is_named(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(
        MissingExtraError, match=rf"{engine.title} is not installed: pip .*{engine.extra}"
    ):
        engine.version()


@ENGINES
def test_the_extra_of_the_distribution_says_the_same(engine) -> None:
    assert f'{engine.versions}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
