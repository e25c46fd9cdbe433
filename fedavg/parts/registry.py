"""Parts, which are the values that a plan consists of, and the registry that holds their classes by name.

A part is frozen and validates itself.  The same fields are its table in a configuration, its form in messages
to worker processes, and the input of the plan's digest.  You add a part by deriving from `Part` and
registering the class; no file of this package changes.  The Protocol of each family defines what its parts do
(`fedavg.sums.interface`, `fedavg.privacy.noise`, …).
"""

from __future__ import annotations

import functools
import types
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import numpy as np

from fedavg.errors import ConfigError, PlanError
from fedavg.parts.imports import module_named
from fedavg.parts.nearest import nearest, offered, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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

Family = Literal[
    "cohort",
    "encoding",
    "noise",
    "secure_sum",
    "server_optimizer",
    "clipping",
    "personalization",
    "blocks",
    "stage",
    "robust",
    "loss",
    "training_step",
    "client_loop",
    "metric",
    "column",
    "features",
]
FAMILIES: tuple[Family, ...] = get_args(Family)
_GROUP = "fedavg.parts"  # group of entry points
_PLAIN: set[object] = {int, float, bool, str, bytes, type(None)}


class Trait(Enum):
    """A property of a part that other parts may be incompatible with.

    The table in `fedavg.plan.checks` has the incompatible pairs, with the reason of each.

    Example:
        >>> from fedavg import RandomK, Scaffold
        >>> [sorted(trait.name for trait in traits_of(stage)) for stage in (RandomK(0.1), Scaffold())]
        [['PARTIAL_VECTOR'], ['EQUAL_WEIGHTS', 'READS_GRADIENT', 'REMEMBERS_ROUNDS']]
        >>> Trait.PARTIAL_VECTOR.value  # said in refusals
        'sends other places of the vector each round'
    """

    NOISE = "adds noise for differential privacy"
    NO_NOISE = "adds no noise"
    FINITE_BUDGET = "has a finite budget of epsilon"
    DEPENDENT_DRAWS = "draws cohorts of fixed size"
    REMEMBERS_ROUNDS = "remembers earlier rounds"
    BOUNDED_NORM = "bounds the norm of an encoded vector"
    UNBOUNDED_NORM = "does not bound the norm of an encoded vector"
    MIXES_COORDINATES = "mixes all coordinates"
    PARTIAL_VECTOR = "sends other places of the vector each round"
    EXTRA_VECTOR = "sends more than the update"
    BLOCKS = "cuts the model into blocks"
    COORDINATE_MAP = "names coordinates of the whole model"
    CLIENT_MAP = "was chosen by clients' private scores"
    RESIDUAL = "sends later what it left out"
    READS_GRADIENT = "reads a client's mean gradient off its update"
    STATEFUL_STEPS = "takes steps that are not proportional to the gradient"
    PROXIMAL = "adds a proximal term to the loss"
    OWN_LOOP = "trains a client in a loop of its own"
    EXAMPLE_WEIGHTS = "weighs clients by their examples"
    EQUAL_WEIGHTS = "needs clients of equal weight"
    ADAPTS_CLIP = "follows the norms of whole updates"
    OWN_MODEL = "trains a model of the client's own in each round"
    RETRIES = "tries a round again"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A value of a plan.

    Derive from it with ``frozen=True`` and a ``tag``, the part's name in configurations.  A part that checks
    its own fields overrides `__post_init__` and calls this one first: it replaces numpy scalars by Python's
    numbers, integers by floats where a float is declared, and refuses values of another type.

    Raises:
        PlanError: a field of another type, by name.

    Example:
        >>> class Half(Part, frozen=True, tag="half"):
        ...     share: float = 0.5
        >>> Half(np.float32(0.25)).share, Half(1)
        (0.25, Half(share=1.0))
    """

    @property
    def traits(self) -> frozenset[Trait]:
        """Its properties that other parts may be incompatible with."""
        return frozenset()

    @property
    def imports(self) -> tuple[str, ...]:
        """Modules that the part needs besides its own, such as the module of a function that it names."""
        return ()

    def check_here(self) -> None:
        """Refuse a part that cannot be used in this process, for example because a function is missing.

        Raises:
            ConfigError: the part cannot be used; raised before any data is read.
        """

    def check_population(self, size: int) -> None:
        """Refuse a number of clients that the part was not made for; a part is for any, unless it says so.

        Args:
            size: number of all clients, of whom a round may ask some.

        Raises:
            PlanError: the part is for another number; raised before anything is charged.
        """

    def __post_init__(self) -> None:
        # Type hints are checked here because configurations, callers and messages all end up in this place.
        for name, hint in _hints(type(self)):
            given = getattr(self, name)
            value = _as_python(given)
            try:
                value = msgspec.convert(value, hint)
            except msgspec.ValidationError:
                near = nearest(given, map(str, options_of(hint)))
                meant = f". Do you mean {near[0]!r}?" if near else ""
                raise PlanError(
                    f"{type(self).__name__}: {name} must be {_words(hint)}, not {given!r:.80}{meant}"
                ) from None
            # A converted value replaces the given one, so that 1 and 1.0 have one form in the digest.
            if value is not given:
                msgspec.structs.force_setattr(self, name, value)


def _as_python(value: object) -> object:
    """Convert NumPy's scalars to Python's, in tuples too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple) and any(isinstance(part, np.generic) for part in value):
        return tuple(_as_python(part) for part in value)
    return value


@functools.cache
def _hints(kind: type[Part]) -> tuple[tuple[str, Any], ...]:
    return tuple((f.name, f.type) for f in msgspec.structs.fields(kind) if _checkable(f.type))


def _checkable(hint: object) -> bool:
    """Whether a hint consists of numbers, texts, tuples and parts only; other hints are Protocols."""
    origin = get_origin(hint)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, tuple):
        return all(part is Ellipsis or _checkable(part) for part in get_args(hint))
    return hint in _PLAIN or (isinstance(hint, type) and issubclass(hint, Part))


_SAID: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    bytes: "bytes",
    type(None): "None",
}


def _words(hint: object) -> str:
    """A hint in words, for a message."""
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, get_args(hint)))
    if origin is tuple:
        first, *_ = get_args(hint)
        return f"a tuple, each of it {_words(first)}"
    return _SAID.get(hint, getattr(hint, "__name__", str(hint)))


def traits_of(part: object) -> frozenset[Trait]:
    """The traits that a part declares; empty for a value that declares none."""
    declared: frozenset[Trait] = getattr(part, "traits", frozenset())
    return declared


_REGISTRY: dict[Family, dict[str, type[Part]]] = {family: {} for family in FAMILIES}

T = TypeVar("T", bound=Part)


def register(family: Family) -> Callable[[type[T]], type[T]]:
    """Register a class of parts under its tag.

    Args:
        family: the family of the parts, which decides their place in a plan.

    Raises:
        ConfigError: the class has no tag, there is no such family, or another class has the name.

    Example:
        >>> @register("cohort")
        ... class EveryOther(Part, frozen=True, tag="every-other-example"):
        ...     first: int = 0
        >>> named("cohort", "every-other-example") is EveryOther
        True
    """
    if family not in _REGISTRY:
        raise ConfigError(f"no family of parts is called {family!r}; {offered(family, FAMILIES)}")

    def enter(kind: type[T]) -> type[T]:
        tag = kind.__struct_config__.tag
        if not isinstance(tag, str):
            raise ConfigError(f'{kind.__name__} has no name: derive it with tag="…"')
        known = _REGISTRY[family].get(tag)
        # A module that is imported again registers its classes again.
        if known is not None and _place(known) != _place(kind):
            raise ConfigError(
                f"two parts of family {family!r} are called {tag!r}: {'.'.join(_place(known))} and "
                f"{'.'.join(_place(kind))}; rename one"
            )
        _REGISTRY[family][tag] = kind
        return kind

    return enter


def _place(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def registered(family: Family) -> Mapping[str, type[Part]]:
    """The classes of a family by name, in the order in which they were registered."""
    return dict(_REGISTRY[family])


def names(family: Family) -> tuple[str, ...]:
    """The names of a family, for `--help` and messages."""
    return tuple(_REGISTRY[family])


def named(family: Family, name: str) -> type[Part]:
    """The class with a name.

    Raises:
        ConfigError: the name is unknown; the message lists the known ones.
    """
    kind = _REGISTRY[family].get(name)
    if kind is None:
        what = family.replace("_", " ")
        own = "The module of a part of your own is named in [plugins] modules"
        raise ConfigError(f"{what}: there is no {name!r}; {offered(name, names(family), then=own)}")
    return kind


def union(family: Family) -> Any:  # noqa: ANN401 - a type made at run time
    """The type of all registered parts of a family, for decoding."""
    return Union[tuple(_REGISTRY[family].values())]  # noqa: UP007 - made at run time


def family_of(part: object) -> Family | None:
    """The family in which the class of a part is registered, or None."""
    for family, kinds in _REGISTRY.items():
        if type(part) in kinds.values():
            return family
    return None


def check_registered(part: object) -> None:
    """Refuse a value that no configuration, digest or other process could name.

    Raises:
        PlanError: the value's class is not registered in any family.
    """
    if family_of(part) is None:
        raise PlanError(
            f"{type(part).__name__} is no registered part: derive it from fedavg.parts.Part with a tag and "
            "register it, so that plans with it have a digest and can be rebuilt elsewhere"
        )


def nested(part: object) -> list[Part]:
    """A part and all parts within it, at any depth, such as a local training and its loss.

    Example:
        >>> class Inner(Part, frozen=True, tag="inner-example"):
        ...     share: float = 0.5
        >>> class Outer(Part, frozen=True, tag="outer-example"):
        ...     inner: Any = Inner()
        >>> [type(part).__name__ for part in nested(Outer())]
        ['Outer', 'Inner']
    """
    if isinstance(part, tuple):
        return [found for member in part for found in nested(member)]
    if not isinstance(part, Part):
        return []
    inner = (getattr(part, name) for name in part.__struct_fields__)
    return [part, *(found for member in inner for found in nested(member))]


def modules_of(parts: Iterable[object]) -> tuple[str, ...]:
    """The modules that another process must import before it can decode these parts and their inner parts.

    Raises:
        PlanError: a part is not registered, or it is defined in the program itself or names a function
            that is.
    """
    found: set[str] = set()
    for part in parts:
        check_registered(part)
        for inner in nested(part):
            for module in (type(inner).__module__, *inner.imports):
                # A spawned process has another main module, which does not define the part.
                if module == "__main__":
                    raise PlanError(
                        f"{inner!r:.80} is defined in the program itself, where worker processes cannot "
                        "import it: move it into a module, or run with workers=0"
                    )
                if module.split(".")[0] != "fedavg":
                    found.add(module)
    return tuple(sorted(found))


def load_plugins(modules: Iterable[str] = ()) -> None:
    """Import the modules that register parts: installed ones by entry point, others by name.

    Args:
        modules: import paths, such as those that ``[plugins] modules`` names.

    Raises:
        ConfigError: a module cannot be imported.
    """
    # Installed plug-ins register their parts here, so that configurations can name them.
    import importlib.metadata  # noqa: PLC0415 - only runs look for plug-ins

    for point in importlib.metadata.entry_points(group=_GROUP):
        module_named(point.module, f"the plug-in {point.module!r}")
    for module in modules:
        module_named(module, f"the plug-in {module!r}")
