"""What a message says of a name that there is not: the names that there are, and the one that is meant.

All packages of `fedavg` ask here, so that a slip of the keyboard is answered alike everywhere.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Literal, Union, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["alike", "explained", "key_offered", "nearest", "offered", "options_of"]

# Share of equal letters from which a name counts as meant. One letter that is missing, doubled, wrong or
# swapped with its neighbour keeps at least 2/3 of a name of three letters or more.
_NEAR = 0.6
_UNIONS = (Union, type(int | str))


def alike(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Names that differ in upper and lower case or in blanks around them only, in groups of two or more.

    Example:
        >>> alike(["Aachen", "Bonn", "aachen "])
        (('Aachen', 'aachen '),)
    """
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(name.strip().casefold(), []).append(name)
    return tuple(tuple(same) for same in folded.values() if len(same) > 1)


def nearest(name: object, known: Iterable[str], most: int = 1) -> tuple[str, ...]:
    """The most similar known names, best first; () if none is similar.

    Args:
        name: what was given; upper and lower case, and `_`, `-` and blanks, count as equal.
        known: the names that there are.
        most: largest number of names to return.

    Example:
        >>> nearest("Cros_Entropy", ["focal", "cross-entropy"])
        ('cross-entropy',)
        >>> nearest("zebra", ["focal", "cross-entropy"])
        ()
    """
    plain = {_plain(own): own for own in known}
    near = difflib.get_close_matches(_plain(str(name)), plain, n=most, cutoff=_NEAR)
    return tuple(plain[found] for found in near)


def offered(
    name: object,
    known: Iterable[str],
    *,
    lead: str = "there are",
    then: str = "",
    also: Iterable[str] = (),
) -> str:
    """The names that there are, and a question if one of them is similar to the given one.

    Args:
        name: what was given.
        known: the names that there are, in the order in which they are listed.
        lead: words before the names.
        then: a further sentence, without its full stop; "" for none.
        also: further names that may be meant, too many to be listed.

    Example:
        >>> offered("sekagg", ["secagg", "ckks"], then="Or register a part of your own")
        "there are secagg, ckks. Do you mean 'secagg'? Or register a part of your own"
        >>> offered("rsa", ["secagg", "ckks"])
        'there are secagg, ckks'
    """
    known = tuple(known)
    near = nearest(name, (*known, *also))
    said = f"{lead} {', '.join(known) or 'none'}"
    if near:
        return f"{said}. Do you mean {near[0]!r}?{then and f' {then}'}"
    return f"{said}{then and f'. {then}'}"


def key_offered(key: str, known: Iterable[str]) -> str:
    """What goes on after an unknown key: a question about a similar one, or else the list of all.

    A table may have many keys, so they are listed only if none is similar.

    Example:
        >>> key_offered("epsilom", ["noise", "epsilon"])
        ". Do you mean 'epsilon'?"
        >>> key_offered("colour", ["noise", "epsilon"])
        '; known keys: noise, epsilon'
    """
    known = tuple(known)
    near = nearest(key, known)
    return f". Do you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"


def explained(message: str, root: object) -> str:
    """A message of msgspec in our words: the key first, then the keys or values that there are.

    Args:
        message: of a `msgspec.ValidationError`.
        root: the type that was to be decoded, such as the struct of a whole configuration.

    Example:
        >>> class Table(msgspec.Struct, forbid_unknown_fields=True):
        ...     kind: Literal["mean", "median"] = "mean"
        >>> explained("Invalid enum value 'medain' - at `$.kind`", Table)
        "kind: there is no 'medain'; there are mean, median. Do you mean 'median'?"
        >>> explained("Object contains unknown field `kid`", Table)
        "unknown key 'kid'. Do you mean 'kind'?"
    """
    placed = re.fullmatch(r"(.*?)(?: - at `\$\.?([^`]*)`)?", message, re.DOTALL)
    said, place = (placed[1], placed[2] or "") if placed else (message, "")
    unknown = re.search(r"unknown field `([^`]+)`", said)
    if unknown is not None:
        full = f"{place}.{unknown[1]}" if place else unknown[1]
        return f"unknown key {full!r}{key_offered(unknown[1], _keys(root, place))}"
    wrong = re.fullmatch(r"Invalid enum value (.*)", said, re.DOTALL)
    values = [str(value) for kind in _at(root, place) for value in options_of(kind)]
    if wrong is not None and values:
        given = wrong[1].strip("'")
        said = f"there is no {given!r}; {offered(given, values)}"
    return f"{place}: {said}" if place else said


def options_of(hint: object) -> tuple[object, ...]:
    """The values of all `Literal`s of a type, in order; () for a type with none.

    Example:
        >>> options_of(Literal["up", "down"] | None)
        ('up', 'down')
    """
    return tuple(
        value for kind in _parts(hint) if get_origin(kind) is Literal for value in get_args(kind)
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")


def _parts(hint: object) -> tuple[object, ...]:
    """The members of a union; a type itself that is none."""
    if get_origin(hint) in _UNIONS:
        return tuple(found for part in get_args(hint) for found in _parts(part))
    return (hint,)


def _keys(root: object, place: str) -> list[str]:
    return [field.encode_name for kind in _at(root, place) for field in _fields(kind)]


def _at(root: object, place: str) -> tuple[object, ...]:
    """The types that a value at a place of msgspec's messages may have, such as "data.columns[...]"."""
    kinds = _parts(root)
    for name, _ in re.findall(r"([^.\[\]]+)|(\[[^\]]*\])", place):
        kinds = tuple(
            found for kind in kinds for inner in _inner(kind, name) for found in _parts(inner)
        )
    return kinds


def _inner(kind: object, name: str) -> list[object]:
    """The types of a field of a struct; of the elements of a container for ""."""
    if not name:
        return list(get_args(kind))
    return [field.type for field in _fields(kind) if field.encode_name == name]


def _fields(kind: object) -> tuple[msgspec.structs.FieldInfo, ...]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return msgspec.structs.fields(kind)
    return ()
