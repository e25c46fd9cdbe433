"""The source tree that the architecture tests read: files on disk, tracked by git or not."""

from __future__ import annotations

import ast
import functools
import gc
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("secagg", "he", "dp", "fedavg")
PROTOCOLS = ("secagg", "he", "dp")


def modules(*packages: str) -> list[Path]:
    """Every module of the given packages; raises when one of them has none."""
    found: list[Path] = []
    for package in packages:
        here = sorted((ROOT / package).rglob("*.py"))
        if not here:
            raise FileNotFoundError(f"no modules under {ROOT / package}")
        found += here
    return found


@functools.cache
def tree(path: Path) -> ast.Module:
    """A module's syntax tree."""
    parsed = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    gc.freeze()  # kept to the end: no collection of garbage need look through a million nodes again
    return parsed


def place(path: Path, node: ast.AST) -> str:
    """File and line, for a failure that can be clicked."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def dotted(node: ast.AST) -> str:
    """The dotted name of an expression such as `numpy.random.default_rng`, or ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def imports(module: ast.Module) -> list[tuple[ast.AST, str]]:
    """Every imported dotted name; `from a import b` gives a.b."""
    found: list[tuple[ast.AST, str]] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            found += [(node, f"{node.module}.{alias.name}") for alias in node.names]
    return found
