"""Facts about the machine that a figure cannot be read without."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

__all__ = ["facts"]

_WIDE = ("avx2", "avx512f", "vaes", "vpclmulqdq", "sha_ni")
"""What decides the speed of masks, hashes and matrix products, where /proc/cpuinfo tells it."""
_PACKAGES = ("numpy", "scipy", "cryptography", "tenseal", "torch", "msgspec")


def facts() -> dict[str, object]:
    """CPU, cores, memory, load and versions; nothing that names the machine or its owner.

    Example:
        >>> sorted(facts())[:3]
        ['cores', 'cpu', 'load']
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": [round(x, 2) for x in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": _versions(),
        "threads": {
            name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        },
    }


def _cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """Name, family and model, and the wide instructions: a name alone may stand for several generations."""
    if not info.is_file():
        return platform.processor() or platform.machine()
    first, _, _ = info.read_text(encoding="utf-8").partition("\n\n")
    pairs = [line.partition(":") for line in first.splitlines()]
    told = {key.strip(): value.strip() for key, _, value in pairs}
    name = told.get("model name") or platform.processor() or platform.machine()
    if "cpu family" not in told:
        return name
    wide = [flag for flag in _WIDE if flag in told.get("flags", "").split()]
    return f"{name} (family {told['cpu family']}, model {told.get('model')}; {', '.join(wide)})"


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
