"""Parts of a plan: `registry` has them by name, `tables` reads them, `imports` finds the user's own code."""

from __future__ import annotations

from fedavg.parts.registry import (
    FAMILIES,
    Family,
    Part,
    Trait,
    check_registered,
    family_of,
    load_plugins,
    modules_of,
    named,
    names,
    nested,
    register,
    registered,
    traits_of,
    union,
)

__all__ = [
    "FAMILIES",
    "Family",
    "Part",
    "Trait",
    "check_registered",
    "family_of",
    "load_plugins",
    "modules_of",
    "named",
    "names",
    "nested",
    "register",
    "registered",
    "traits_of",
    "union",
]
