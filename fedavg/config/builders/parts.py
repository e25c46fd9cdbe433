"""Construction of a registered part from its name and a table of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedavg.errors import ConfigError
from fedavg.parts import named, names, registered
from fedavg.parts.nearest import offered
from fedavg.parts.tables import part_of_table
from fedavg.plan import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.algorithms.interface import UpdateStage
    from fedavg.config.settings import Config
    from fedavg.parts import Family

__all__ = ["OURS", "check_name", "check_names", "known_names", "our_names", "part_of", "stages_of"]

OURS = catalogue.OURS  # this import registers the names of all built-in parts

_NAMED: dict[
    str, tuple[Family, tuple[str, ...]]
] = {  # keys that name a part, and further names that they accept
    "privacy.noise": ("noise", ("none",)),
    "secure_sum.kind": ("secure_sum", ()),
    "server.optimizer": ("server_optimizer", ()),
    "cohort.kind": ("cohort", ()),
    "personalization.kind": ("personalization", ("none",)),
    "blocks.kind": ("blocks", ()),
    "encoding.kind": ("encoding", ("auto",)),
}


def part_of(
    family: Family, name: str, settings: Mapping[str, object], options: Mapping[str, object]
) -> Any:  # noqa: ANN401 - any part of the family
    """Construct a part by name.

    Args:
        family: family of the part in a plan.
        name: name of the part in the registry.
        settings: settings that parts of the family share; those that this part does not have, and those that
            are None, are ignored.
        options: fields of this part only.

    Raises:
        ConfigError: the name is unknown, or the part does not have an option.
        PlanError: the part refuses a value.

    Example:
        >>> import fedavg.plan.catalogue
        >>> part_of("server_optimizer", "momentum", {"lr": 2.0, "tau": 1e-3}, {"momentum": 0.5})
        FedMomentum(lr=2.0, momentum=0.5)
    """
    kind = named(family, name)
    fields = kind.__struct_fields__
    unknown = options.keys() - set(fields)
    if unknown:
        raise ConfigError(
            f"{family} {name!r} has no option {', '.join(sorted(unknown))}; "
            f"{offered(min(unknown), fields, lead='it has')}"
        )
    # Settings are shared by several kinds, so each kind takes those that it has; options must all fit.
    shared = {key: value for key, value in settings.items() if key in fields and value is not None}
    return kind(**(shared | dict(options)))


def known_names(key: str) -> tuple[str, ...]:
    """The names that a configuration key accepts.

    Args:
        key: dotted key.

    Returns:
        The names of the parts that are registered now, and further names such as "none"; () for a key that
        names no part.

    Example:
        >>> known_names("privacy.noise")[-1], known_names("local.lr")
        ('none', ())
    """
    if key not in _NAMED:
        return ()
    family, also = _NAMED[key]
    return (*names(family), *also)


def our_names(key: str) -> tuple[str, ...]:
    """The names of the built-in parts that a key accepts, for the reference of settings.

    Args:
        key: dotted key.

    Example:
        >>> our_names("cohort.kind"), our_names("local.lr")
        (('poisson', 'fixed'), ())
    """
    if key not in _NAMED:
        return ()
    family, also = _NAMED[key]
    # In the order of the catalogue: parts register in the order in which a program imports their modules.
    places = {module.__name__: place for place, module in enumerate(OURS)}
    kinds = {name: kind.__module__ for name, kind in registered(family).items()}
    ours = sorted((name for name in kinds if kinds[name] in places), key=lambda n: places[kinds[n]])
    return (*ours, *also)


def check_name(key: str, name: object) -> None:
    """Refuse the name of a part that is not registered.

    Args:
        key: dotted key of a configuration; a key that names no part is not checked.
        name: its value.

    Raises:
        ConfigError: the name is not registered; the message names the key, and the available names.
    """
    known = known_names(key)
    if known and name not in known:
        own = "The module of a part of your own is named in [plugins] modules"
        raise ConfigError(f"{key}: there is no {name!r}; {offered(name, known, then=own)}")


def check_names(config: Config) -> None:
    """Refuse unknown names of parts before any data is read.

    Raises:
        ConfigError: a name is not registered; the message names the key, and the available names.
    """
    for key in _NAMED:
        table, _, last = key.partition(".")
        name = getattr(getattr(config, table), last)
        if name is not None:  # None is completed later, depending on the data
            check_name(key, name)
    fields = named("cohort", config.cohort.kind).__struct_fields__
    for name in ("rate", "size"):
        if getattr(config.cohort, name) is not None and name not in fields:
            raise ConfigError(
                f"cohort.{name} means nothing for cohorts of kind {config.cohort.kind!r}, which have "
                f"{', '.join(fields) or 'no settings'}: leave it out, or choose another cohort.kind. Earlier "
                "versions wrote both keys into each config.toml, where this one did nothing: delete its line"
            )
    stages_of(config.stages)


def stages_of(tables: Sequence[Mapping[str, object]]) -> tuple[UpdateStage, ...]:
    """The stages that a configuration lists; each is a table with its `kind`.

    Raises:
        ConfigError: a kind is not registered, or does not have a field.
    """
    return tuple(part_of_table("stage", table, "stages") for table in tables)
