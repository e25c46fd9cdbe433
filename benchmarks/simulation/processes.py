"""CPU time and memory of a process and all that descend from it, as Linux tells them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_seconds", "descendants", "peak_resident", "proportional"]

_TICK = os.sysconf("SC_CLK_TCK")
_MIB = 1024.0


def descendants(pid: int) -> list[int]:
    """A process and all that it and they have started, as far as they run."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = _stat(int(entry.name))
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, at = [pid], 0
    while at < len(found):
        found += parents.get(found[at], [])
        at += 1
    return found


def _stat(pid: int) -> list[str]:
    """Fields from the state on: names may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """User and system time of all of them, those that have ended included where they were waited for."""
    ticks = 0
    for one in descendants(pid):
        with suppress(OSError):
            ticks += sum(map(int, _stat(one)[11:15]))
    return ticks / _TICK


def proportional(pid: int) -> float:
    """MiB now: what several of them share counts once."""
    return _sum(pid, "smaps_rollup", "Pss:")


def peak_resident(pid: int) -> float:
    """MiB: the sum of each one's peak; what they share counts for each."""
    return _sum(pid, "status", "VmHWM:")


def _sum(pid: int, file: str, field: str) -> float:
    total = 0
    for one in descendants(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{one}/{file}").read_text(encoding="utf-8").splitlines():
                if line.startswith(field):
                    total += int(line.split()[1])
    return total / _MIB
