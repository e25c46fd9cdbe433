"""The wheel: built from a copy of the tree, it holds the four packages, whole, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.arch.tree import PACKAGES, ROOT

_LEFT_OUT = ("__pycache__", "*.egg-info", "*.part")
_EXTRA = ("tests", "benchmarks", "examples")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a freshly built wheel; the checkout stays as it was, and the network is not used."""
    source = tmp_path_factory.mktemp("source")
    out = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in (*PACKAGES, *_EXTRA):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        command, cwd=source, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_top_level_is_the_four_packages(names: list[str]) -> None:
    top = {name.split("/")[0] for name in names}
    metadata = {name for name in top if name.endswith(".dist-info")}
    assert len(metadata) == 1
    assert top - metadata == set(PACKAGES)


def test_every_module_template_and_marker_is_in_it(names: list[str]) -> None:
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".part"
    }
    expected = {name.replace("\\", "/") for name in expected}
    assert not expected - set(names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected
    assert any(name.startswith("fedavg/reports/templates/") for name in names)


def test_the_licence_is_in_it(names: list[str]) -> None:
    assert any(name.endswith("/LICENSE") for name in names)


def test_building_left_nothing_in_the_checkout(names: list[str]) -> None:
    assert names
    assert not (ROOT / "build").exists()
