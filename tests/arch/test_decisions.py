"""Behaviour hangs on members of parts, never on their names or classes.

Two rules, over all modules of `fedavg`.  The first looks for the names under which parts are registered:
nothing but the registry's own look-up may compare with one.  The second looks for `isinstance` and
`type(…) is` with a class of ours.  What remains stands in the two lists below, each entry with its reason and
the number of places.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import fedavg
from fedavg.parts.registry import FAMILIES, registered
from tests.arch.tree import ROOT, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    "config/tables/protection.py": (1, "[clipping] has two kinds, of which one is no part"),
    "metrics/suite.py": (4, "which metrics a kind of labels is scored by"),
    "optimizers/local.py": (3, "the optimisers of a client are options of `LocalTraining` itself"),
    "plan/budget/samplings.py": (
        1,
        "a question about a budget has three ways of sampling of its own",
    ),
    "reports/runs/personal.py": (1, "how the names of three metrics are written in prose"),
    "studies/identity.py": (1, "a package's name, which is also that of a server optimiser"),
    "contrib/masked_encrypted.py": (2, "the scheme is an option of the part itself"),
    "training/local/steps.py": (2, "the steps of a client's optimisers, on torch"),
}
_MESSAGES = "what a message is decides what is done with it: the protocol's own closed set"
_DOOR = "an argument may be given in several forms, of which this is one"
CLASSES = {
    "client/client.py": (3, _MESSAGES),
    "client/trial.py": (1, "an error of the encoding is explained by its setting"),
    "client/update.py": (1, "an error that is the server's doing is not the client's"),
    "data/dataset.py": (1, _DOOR),
    "data/foreign.py": (1, _DOOR),
    "data/tables/reading.py": (1, "an error of ours says more than one of the reader"),
    "data/tables/schemas/propose.py": (2, "which of the proposed kinds may say whose each row is"),
    "federation/federation.py": (1, _DOOR),
    "federation/released.py": (1, _DOOR),
    "federation/scoring.py": (1, _DOOR),
    "losses/choice.py": (1, _DOOR),
    "optimizers/custom.py": (1, _DOOR),
    "optimizers/local.py": (1, _DOOR),
    "parts/imports.py": (1, "an error of ours already says what is wrong"),
    "protocol/messages.py": (2, _MESSAGES),
    "protocol/transcript.py": (4, _MESSAGES),
    "records/enrolment.py": (1, _DOOR),
    "records/federation.py": (1, _DOOR),
    "records/silo.py": (4, "messages, as above; and a ledger in a file is read before it is asked"),
    "server/key_holder.py": (1, _MESSAGES),
    "server/opener.py": (1, _MESSAGES),
    "server/round.py": (2, _MESSAGES),
    "simulation/pool.py": (6, _MESSAGES),
    "simulation/population.py": (2, _MESSAGES),
    "simulation/shared_memory.py": (1, _MESSAGES),
    "simulation/worker.py": (8, _MESSAGES),
    "sums/one_shot/direct.py": (1, _MESSAGES),
    "training/fast/convolutional.py": (1, "a fast path knows the arithmetic of one class"),
    "training/fast/dense.py": (1, "a fast path knows the arithmetic of one class"),
}


@functools.cache
def _imported() -> None:
    for module in pkgutil.walk_packages(fedavg.__path__, "fedavg."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name != "nvflare":  # its adapter, where it is not installed
                raise


@functools.cache
def _tags() -> dict[str, frozenset[str]]:
    """The names of each family's parts of ours."""
    _imported()
    return {
        family: frozenset(
            tag for tag, kind in registered(family).items() if kind.__module__.startswith("fedavg.")
        )
        for family in FAMILIES
    }


@functools.cache
def _classes() -> frozenset[str]:
    """The names of all classes of the four packages."""
    _imported()
    return frozenset(
        value.__name__
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("fedavg", "secagg", "he", "dp")
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__.split(".")[0] in ("fedavg", "secagg", "he", "dp")
    )


def _strings(*nodes: ast.AST) -> set[str]:
    return {
        node.value
        for top in nodes
        for node in ast.walk(top)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _identifiers(*nodes: ast.AST) -> set[str]:
    inner = [node for top in nodes for node in ast.walk(top)]
    return {node.id for node in inner if isinstance(node, ast.Name)} | {
        node.attr for node in inner if isinstance(node, ast.Attribute)
    }


def by_name(tree: ast.AST) -> Iterator[int]:
    """Lines that compare with the name of a registered part, or list several of one family."""
    every = frozenset().union(*_tags().values())
    declared = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and _identifiers(node.value) == {"Literal"}
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in declared:
            continue
        if isinstance(node, ast.Compare):
            found = bool(_strings(node) & every)
        elif isinstance(node, ast.match_case):
            found = bool(_strings(node.pattern) & every)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found = node.func.attr in ("startswith", "endswith") and bool(_strings(node) & every)
        elif isinstance(node, (ast.Dict, ast.Set, ast.List, ast.Tuple)):
            members = node.keys if isinstance(node, ast.Dict) else node.elts
            said = {m.value for m in members if isinstance(m, ast.Constant)}
            found = any(len(said & tags) > 1 for tags in _tags().values())
        else:
            found = False
        if found:
            yield getattr(node, "lineno", None) or node.pattern.lineno


def by_class(tree: ast.AST) -> Iterator[int]:
    """Lines that ask whether something is of a class of ours."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                found = bool(_identifiers(kinds) & _classes())
            case ast.Compare(left=ast.Call(func=ast.Name(id="type")), comparators=others):
                found = bool(_identifiers(*others) & _classes())
            case ast.match_case(pattern=pattern):
                found = bool(
                    _identifiers(*(p for p in ast.walk(pattern) if isinstance(p, ast.MatchClass)))
                    & _classes()
                )
            case _:
                found = False
        if found:
            yield getattr(node, "lineno", None) or node.pattern.lineno


def _counted(rule) -> dict[str, list[int]]:
    found = {}
    for path in sorted((ROOT / "fedavg").rglob("*.py")):
        name = str(path.relative_to(ROOT / "fedavg"))
        if name != "parts/registry.py":
            lines = list(rule(tree(path)))
            if lines:
                found[name] = lines
    return found


@pytest.mark.parametrize(
    ("rule", "listed"), [(by_name, NAMES), (by_class, CLASSES)], ids=["by name", "by class"]
)
def test_every_decision_is_listed_with_its_reason(rule, listed) -> None:
    found = _counted(rule)
    counts = Counter({name: len(lines) for name, lines in found.items()})
    assert counts == {name: count for name, (count, _) in listed.items()}, found
    assert all(reason for _, reason in listed.values())


@pytest.mark.parametrize(
    ("rule", "breach"),
    [
        (by_name, 'if plan.noise.kind == "central-gaussian": pass'),
        (by_name, 'if plan.secure_sum.kind in ("secagg", "bfv"): pass'),
        (by_name, 'quiet = name.startswith("selective")'),
        (by_name, 'match name:\n    case "ditto": pass'),
        (by_name, 'wide = {"ckks", "bfv"}'),
        (by_name, 'most = {"poisson": 1, "fixed": 2}'),
        (by_class, "isinstance(cohort, PoissonCohort)"),
        (by_class, "isinstance(part, (int, plain.InsecurePlain))"),
        (by_class, "type(transport) is WorkerPool"),
        (by_class, "match plan.noise:\n    case CentralGaussian(): pass"),
    ],
)
def test_a_planted_decision_is_seen(rule, breach) -> None:
    assert list(rule(ast.parse(breach)))


@pytest.mark.parametrize("rule", [by_name, by_class])
@pytest.mark.parametrize(
    "harmless",
    ["isinstance(value, dict)", 'mode == "rb"', 'part_of("noise", "skellam")', "a = [1, 2]"],
)
def test_harmless_code_is_left_alone(rule, harmless) -> None:
    assert not list(rule(ast.parse(harmless)))
