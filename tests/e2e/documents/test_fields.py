"""The examples of the five fields: each one's command, shortened, and the check of its package's file."""

from __future__ import annotations

import json
import re
import runpy
import sys
from importlib import metadata

import pytest

from benchmarks.fields.catalogue import FIELDS
from tests.arch.tree import ROOT


@pytest.fixture(params=sorted(FIELDS))
def field(request):
    """A field, or a skip that names the package without which its table cannot be written."""
    found = FIELDS[request.param]
    text = (found.folder / "__main__.py").read_text()
    package = re.search(r'^PACKAGE, FILE = "(\w+)"', text, re.MULTILINE)[1]
    try:
        metadata.distribution(package)  # its files are read, and it is not always imported
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: pip install -c constraints.txt -e '.[examples]'")
    return found


def example(field, name="example"):
    return runpy.run_path(str(field.folder / "__main__.py"), run_name=name)


def test_each_command_ends_in_a_report_and_in_a_budget(field, tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(
        tmp_path
    )  # the table and the runs go to the folder in which the command is given
    monkeypatch.setattr(sys, "argv", [f"examples/{field.name}", "--short"])
    example(field, "__main__")
    report = tmp_path / "runs" / field.name / "report.html"
    assert "secagg" in report.read_text()
    clear = json.loads((report.parent / "summary.json").read_text())
    assert clear["rounds"] == 2
    assert clear["unscored"] is None
    private = tmp_path / "runs" / f"{field.name}-private"
    told = json.loads((private / "summary.json").read_text())
    assert (told["unit"], told["stopped"]) == (field.unit, "finished")
    assert 0 < told["epsilon"]["release"] <= told["epsilon"]["colluding"] <= 3.0
    assert told["silos"] == clear["clients"] == len(list((private / "ledgers").glob("*.json")))
    assert str(report.relative_to(tmp_path)) in capsys.readouterr().out


def test_another_file_than_the_known_one_is_refused_before_it_is_read(field, tmp_path, monkeypatch):
    """A pickle runs code of its author, so that the hash comes first."""
    code = example(field)
    changed = tmp_path / "changed"
    changed.write_bytes(b"another file")
    with pytest.raises(SystemExit, match="has another SHA-256 than this example knows: install"):
        code["check"](changed, code["SHA256"])
    write, read = code["write"], []
    monkeypatch.setitem(write.__globals__, "SHA256", "0" * 64)
    monkeypatch.setattr("pandas.read_pickle", lambda *given, **more: read.append(given))
    monkeypatch.setattr("pandas.read_csv", lambda *given, **more: read.append(given))
    with pytest.raises(SystemExit, match="has another SHA-256"):
        write(tmp_path / "table.csv")
    assert not read
    assert not (tmp_path / "table.csv").exists()


def test_each_page_says_what_is_pinned_and_under_which_licence(field):
    code = example(field)
    page = (field.folder / "README.md").read_text()
    pinned = re.findall(rf"{code['PACKAGE']}==[\w.]+", page)
    assert pinned
    assert "**Licence.**" in page
    assert f"python examples/{field.name}" in page
    for said in ("pyproject.toml", "constraints.txt"):
        assert pinned[0] in (ROOT / said).read_text()
    # A refusal of another file names the same version.
    assert pinned[0] in (field.folder / "__main__.py").read_text()


def test_no_table_is_kept_in_the_repository():
    """What may not be redistributed is read from the installed package."""
    kept = {".py", ".toml", ".md"}
    for field in FIELDS.values():
        found = [path for path in field.folder.rglob("*") if path.is_file()]
        assert {path.suffix for path in found if "__pycache__" not in path.parts} == kept
