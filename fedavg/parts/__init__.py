"""Parts of a plan, by name: `registry` knows them, `imports` finds code of the user's own."""

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
