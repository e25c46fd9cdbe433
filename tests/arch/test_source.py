"""What the four packages' syntax trees may not contain; each rule is shown to catch a planted breach."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.arch.tree import PACKAGES, PROTOCOLS, ROOT, dotted, imports, modules, place, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PLANTED = Path(ROOT / "planted.py")


def _calls_and_imports(
    module: ast.Module, path: Path, names: Sequence[str], roots: Sequence[str]
) -> list[str]:
    found = [
        f"{place(path, node)} imports {name}"
        for node, name in imports(module)
        if name.split(".")[0] in roots
    ]
    found += [
        f"{place(path, node)} uses {dotted(node.func)}"
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and dotted(node.func) in names
    ]
    return found


def unsafe_loaders(module: ast.Module, path: Path) -> list[str]:
    """Pickle in any coat, code from strings, and loaders that run what they read."""
    names = ["eval", "exec", "compile", "__import__", "yaml.load", "torch.load", "joblib.load"]
    roots = ["pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"]
    found = _calls_and_imports(module, path, names, roots)
    return found + [
        f"{place(path, node)} lets numpy unpickle"
        for node in ast.walk(module)
        if isinstance(node, ast.keyword)
        and node.arg == "allow_pickle"
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]


def voices(module: ast.Module, path: Path) -> list[str]:
    """Anything that prints or logs: a protocol package holds secrets."""
    names = ["print", "sys.stdout.write", "sys.stderr.write", "warnings.warn"]
    return _calls_and_imports(module, path, names, ["logging", "rich"])


def asserts(module: ast.Module, path: Path) -> list[str]:
    """`python -O` strips assert statements, and with them what they checked."""
    return [place(path, node) for node in ast.walk(module) if isinstance(node, ast.Assert)]


def numpy_random(module: ast.Module, path: Path) -> list[str]:
    """numpy.random under any of its usual names."""
    found = [place(path, node) for node, name in imports(module) if name.startswith("numpy.random")]
    return found + [
        place(path, node)
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and dotted(node) in ("np.random", "numpy.random")
    ]


def frameworks(module: ast.Module, path: Path) -> list[str]:
    """The frameworks that only adapters may know."""
    return _calls_and_imports(module, path, [], ["flwr", "nvflare"])


def _breaches(rule: Callable[[ast.Module, Path], list[str]], *packages: str) -> list[str]:
    return [line for path in modules(*packages) for line in rule(tree(path), path)]


def test_no_unsafe_loader() -> None:
    assert not _breaches(unsafe_loaders, *PACKAGES)


def test_protocol_packages_neither_print_nor_log() -> None:
    assert not _breaches(voices, *PROTOCOLS)


def test_no_assert_statement_that_python_o_would_strip() -> None:
    assert not _breaches(asserts, *PACKAGES)


def test_protocol_packages_never_touch_numpy_random() -> None:
    assert not _breaches(numpy_random, *PROTOCOLS)


def test_fedavg_uses_numpy_random_only_for_public_seeds_and_says_so() -> None:
    """Each use stands on a line with a waiver of TID251 whose reason is that the seed is public."""
    unmarked = [
        at for at in _breaches(numpy_random, "fedavg") if not re.search(r"public", _line(at))
    ]
    assert not unmarked


def _line(at: str) -> str:
    name, number = at.rsplit(":", 1)
    return (ROOT / name).read_text(encoding="utf-8").splitlines()[int(number) - 1]


def test_frameworks_only_in_the_adapters() -> None:
    adapters = ROOT / "fedavg" / "adapters"
    outside = [
        line
        for path in modules(*PACKAGES)
        if adapters not in path.parents
        for line in frameworks(tree(path), path)
    ]
    assert not outside


def test_no_module_over_four_hundred_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(*PACKAGES)
    }
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_every_module_says_first_what_lives_there() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(*PACKAGES)
        if not ast.get_docstring(tree(path))
    ]
    assert not silent


def test_every_package_lists_its_public_names() -> None:
    for package in PACKAGES:
        path = ROOT / package / "__init__.py"
        targets = [
            target
            for node in tree(path).body
            if isinstance(node, ast.Assign)
            for target in node.targets
        ]
        assert "__all__" in [dotted(target) for target in targets], package


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (unsafe_loaders, "import pickle"),
        (unsafe_loaders, "from cloudpickle import dumps"),
        (unsafe_loaders, "eval('1')"),
        (unsafe_loaders, "yaml.load(text)"),
        (unsafe_loaders, "np.load(path, allow_pickle=True)"),
        (unsafe_loaders, "torch.load(path)"),
        (voices, "print(key)"),
        (voices, "import logging"),
        (asserts, "def f(x):\n    assert x > 0"),
        (numpy_random, "import numpy.random"),
        (numpy_random, "from numpy.random import default_rng"),
        (numpy_random, "from numpy import random"),
        (numpy_random, "rng = np.random.default_rng(0)"),
        (frameworks, "def f():\n    from flwr.app import Context"),
        (frameworks, "import nvflare"),
    ],
)
def test_each_rule_catches_a_planted_breach(
    rule: Callable[[ast.Module, Path], list[str]], source: str
) -> None:
    assert rule(ast.parse(source), _PLANTED)


@pytest.mark.parametrize("rule", [unsafe_loaders, voices, asserts, numpy_random, frameworks])
def test_no_rule_objects_to_harmless_code(
    rule: Callable[[ast.Module, Path], list[str]],
) -> None:
    source = (
        "import numpy as np\nfrom math import sqrt\nx = np.load(p, allow_pickle=False)\ny = sqrt(2)"
    )
    assert not rule(ast.parse(source), _PLANTED)
