"""Where the time goes: CPU seconds of a call, split by stage, and the seams of `he` at which to split."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.kit.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["OTHER", "SEAMS", "Stages", "seams"]

OTHER = "other"

_ENCODE, _ENCRYPT, _TAG, _SERIALISE = "encode, pack", "encrypt", "tag, sign", "serialise"
_PARSE, _VERIFY, _ADD = "parse", "verify signature", "add"
_TAGS, _EXPAND, _DECRYPT, _DECODE = "verify tags", "expand c1", "decrypt", "decode, unpack"

# role → (module, dotted name in it, stage); what a stage calls of another stage counts for that one
SEAMS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "client": (
        ("he.roles.client", "check_vector", _ENCODE),
        ("he.roles.client", "pack", _ENCODE),
        ("he.roles.client", "encode", _ENCODE),
        ("he.crypto.context", "_Member.encrypt", _ENCRYPT),
        ("he.roles.client", "drop_low_bits", _SERIALISE),
        ("he.roles.client", "restore_low_bits", _SERIALISE),
        ("he.roles.client", "pack_words", _SERIALISE),
        ("he.roles.client", "encode_upload", _SERIALISE),
        ("he.crypto.context", "_Member.sign", _TAG),
        ("he.crypto.tags", "TagKey.expected", _TAG),
    ),
    "server": (
        ("he.roles.server", "open_upload", _PARSE),
        ("he.crypto.context", "PublicContext.verify", _VERIFY),
        ("he.roles.server", "unpack_words", _PARSE),
        ("he.roles.server", "restore_low_bits", _PARSE),
        ("he.roles.server", "_Tagged.add", _ADD),
        ("he.roles.server", "pack_words", _SERIALISE),
        ("he.roles.server", "encode_sum", _SERIALISE),
    ),
    "opening": (
        ("he.roles.keyholder", "open_sum", _PARSE),
        ("he.roles.keyholder", "unpack_words", _PARSE),
        ("he.crypto.tags", "TagKey.expected", _TAGS),
        ("he.crypto.rlwe", "UniformSums.take", _EXPAND),
        ("he.crypto.rlwe", "Phases.next", _DECRYPT),
        ("he.roles.keyholder", "decode", _DECODE),
        ("he.roles.keyholder", "unpack", _DECODE),
    ),
}


class Stages:
    """CPU seconds of this process, all its threads: whole calls, and their stages without overlap.

    Example:
        >>> stages = Stages()
        >>> with stages.call("client"):
        ...     with stages.stage("encrypt"):
        ...         _ = sum(range(1000))
        >>> sorted(stages.parts("client"))
        ['encrypt', 'other']
        >>> sum(stages.parts("client").values()) == stages.seconds("client")[0]
        True
    """

    def __init__(self) -> None:
        self._calls: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
        self._path: list[str] = []
        self._taken: dict[str, float] = {}
        self._since = 0.0

    @contextlib.contextmanager
    def call(self, role: str) -> Generator[None]:
        """Measure one call; one that raises leaves nothing."""
        gc.collect()
        self._taken = {}
        try:
            with self._enter(OTHER):
                yield
        finally:
            self._path.clear()
        self._calls[role].append(self._taken)

    @contextlib.contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Within a call: charge this block to a stage instead of the one around it."""
        if not self._path:
            yield
            return
        self._charge()
        with self._enter(name):
            yield

    def seconds(self, role: str) -> list[float]:
        """Each call's whole time."""
        return [sum(taken.values()) for taken in self._calls[role]]

    def timing(self, role: str, *, share_of: str = "", clients: int = 1) -> Timing:
        """Median and quartiles over calls, each with its share of the one call of another role."""
        share = sum(self.seconds(share_of)) / clients if share_of else 0.0
        return Timing.of([seconds + share for seconds in self.seconds(role)])

    def parts(self, role: str, *, after: int = 0) -> dict[str, float]:
        """The stages of the call whose whole time is the (lower) median; not of the first `after` ones."""
        ordered = sorted(self._calls[role][after:], key=lambda taken: sum(taken.values()))
        return dict(ordered[(len(ordered) - 1) // 2])

    @contextlib.contextmanager
    def _enter(self, name: str) -> Generator[None]:
        self._path.append(name)
        self._since = time.process_time()
        try:
            yield
        finally:
            self._charge()
            self._path.pop()

    def _charge(self) -> None:
        now = time.process_time()
        name = self._path[-1]
        self._taken[name] = self._taken.get(name, 0.0) + now - self._since
        self._since = now


@contextlib.contextmanager
def seams(stages: Stages, role: str) -> Generator[None]:
    """Charge the functions that do a role's work to their stages, while the block runs.

    Raises:
        RuntimeError: `he` has no such function any more.
    """
    with contextlib.ExitStack() as restore:
        for module, path, stage in SEAMS[role]:
            owner: Any = importlib.import_module(module)
            *classes, name = path.split(".")
            for part in classes:
                owner = getattr(owner, part, None)
            original = vars(owner).get(name) if owner is not None else None
            if original is None:
                raise RuntimeError(
                    f"{module}.{path} is gone: name what does “{stage}” now in SEAMS"
                )
            setattr(owner, name, _charged(original, stages, stage))
            restore.callback(setattr, owner, name, original)
        yield


def _charged(original: Callable[..., Any], stages: Stages, stage: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def charged(*args: object, **options: object) -> object:
        with stages.stage(stage):
            return original(*args, **options)

    return charged
