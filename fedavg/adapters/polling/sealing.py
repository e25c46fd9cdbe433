"""A member's sealing keys in its folder: a file for each epoch, which is deleted when the epoch is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import ConfigError
from fedavg.files import remove_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SealingFiles"]

_PREFIX = "sealing-"


class SealingFiles:
    """The files `sealing-1`, `sealing-2`, … of a folder, each with the private key of the epoch it names.

    Args:
        folder: the member's folder.

    Raises:
        ConfigError: there is no such file, or one that names no epoch.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for epoch in (1, 2, 3):
        ...         _ = (Path(root) / f"sealing-{epoch}").write_bytes(bytes(32))
        ...     files = SealingFiles(Path(root))
        ...     files.delete_before(3)
        ...     sorted(files.paths), sorted(path.name for path in Path(root).iterdir())
        ([3], ['sealing-3'])
    """

    __slots__ = ("paths",)

    def __init__(self, folder: Path) -> None:
        self.paths: dict[int, Path] = {}
        """Epoch → file, of the epochs that are left."""
        for path in sorted(folder.glob(f"{_PREFIX}*")):
            epoch = path.name.removeprefix(_PREFIX)
            # A key under a name that is passed over would outlive its epoch.
            if not epoch.isdecimal() or epoch != str(int(epoch)):
                raise ConfigError(
                    f"{path} names no epoch: a member's sealing keys are in {_PREFIX}1, {_PREFIX}2, …; "
                    "delete it"
                )
            self.paths[int(epoch)] = path
        if not self.paths:
            raise ConfigError(
                f"{folder} holds no sealing key, such as {_PREFIX}1: a member makes one for each epoch of "
                "the agreement before it is enrolled"
            )

    def delete_before(self, epoch: int) -> None:
        """Delete the keys of all epochs before this one.

        Raises:
            OSError: a file cannot be deleted.
        """
        for over in [one for one in self.paths if one < epoch]:
            remove_file(self.paths[over])
            del self.paths[over]
