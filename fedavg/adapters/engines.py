"""The versions of other engines that the adapters were written and tested for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

from fedavg.errors import MissingExtraError

__all__ = ["FLOWER", "NVFLARE", "RAY", "Engine"]


@dataclass(frozen=True, slots=True)
class Engine:
    """Another system, by the package that installs it, and the versions that its adapter works with.

    Args:
        title: name of the system in sentences.
        package: name on the package index.
        extra: our optional dependency that installs it.
        first: the first version, as (major, minor).
        before: the first version that is too new, or None if no upper end is known.

    Example:
        >>> Engine("A system", "a-package-that-nobody-has", "none", (1, 0), None).version()
        Traceback (most recent call last):
        fedavg.errors.MissingExtraError: A system is not installed: pip install 'secure-fedavg[none]'
    """

    title: str
    package: str
    extra: str
    first: tuple[int, int]
    before: tuple[int, int] | None

    @property
    def versions(self) -> str:
        """The versions in the words of pip, such as ">=1.42,<1.43"."""
        upper = f",<{self.before[0]}.{self.before[1]}" if self.before else ""
        return f">={self.first[0]}.{self.first[1]}{upper}"

    def version(self) -> str:
        """Return the installed version.

        Raises:
            MissingExtraError: the system is not installed, or in a version that the adapter does not fit.
        """
        remedy = f"pip install 'secure-fedavg[{self.extra}]'"
        try:
            found = metadata.version(self.package)
        except metadata.PackageNotFoundError:
            raise MissingExtraError(f"{self.title} is not installed: {remedy}") from None
        numbers = re.match(r"(\d+)\.(\d+)", found)
        pair = (int(numbers[1]), int(numbers[2])) if numbers else None
        if pair is None or pair < self.first or (self.before and pair >= self.before):
            raise MissingExtraError(
                f"this adapter fits {self.title} {self.versions}, but {found} is installed: {remedy}"
            )
        return found


FLOWER = Engine("Flower", "flwr", "flower", (1, 42), (1, 43))
NVFLARE = Engine("NVFlare", "nvflare", "nvflare", (2, 9), (2, 10))
RAY = Engine("Ray", "ray", "ray", (2, 55), None)
