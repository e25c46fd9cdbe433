"""The facts of a machine name its processor's generation, since figures differ between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.kit import machine

if TYPE_CHECKING:
    from pathlib import Path

_INFO = """processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
flags\t\t: fpu avx2 vaes sha_ni avx512ifma

processor\t: 1
cpu family\t: 6
model name\t: another
flags\t\t: avx512f
"""


def test_a_processor_is_told_by_generation_and_wide_instructions(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(_INFO, encoding="utf-8")
    assert machine._cpu_model(info) == "AMD EPYC (family 25, model 1; avx2, vaes, sha_ni)"


def test_without_a_family_the_name_stands_alone(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor: 0\nmodel name: Cortex\n", encoding="utf-8")
    assert machine._cpu_model(info) == "Cortex"


def test_without_such_a_file_the_system_is_asked(tmp_path: Path) -> None:
    assert machine._cpu_model(tmp_path / "absent")
