"""What a party and a server keep in a folder of their own, by the names of the files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fedavg.adapters.polling.agreement import SumAgreement
from fedavg.adapters.polling.party import ClientRounds, MemberRounds, Party
from fedavg.adapters.polling.sealing import SealingFiles
from fedavg.errors import ConfigError
from fedavg.files import FileJournal, replace_file
from fedavg.sums.interface import is_client
from secagg import Identity
from secagg.committee import SealingKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["begin_round", "open_party", "read_agreement"]


def read_agreement(folder: Path) -> SumAgreement:
    """The operator's file in a folder, `agreement.json`.

    Raises:
        ConfigError: there is no such file; further errors are those of `SumAgreement.from_bytes`.

    Example:
        >>> from pathlib import Path
        >>> read_agreement(Path("client-3"))
        Traceback (most recent call last):
        fedavg.errors.ConfigError: cannot read client-3/agreement.json: No such file or directory
    """
    return SumAgreement.from_bytes(_read(folder / "agreement.json"))


def open_party(folder: Path, update: Callable[[int, int, int, bytes], NDArray[np.int64]]) -> Party:
    """A party from its folder, with all that earlier processes left there.

    The folder has the party's name, such as `client-3` or `member-0`, and holds `agreement.json` and
    `identity` and `journal`, a member's also `sealing-1`, `sealing-2`, … with the private sealing key of each
    epoch. Only their owner may read identity and sealing keys (mode 600). Enrolment makes the journal, with
    `FileJournal(folder / "journal")`, when it makes the identity. The party keeps `outbox` there, and a
    member deletes the keys of epochs that are over.

    Args:
        folder: the folder.
        update: id of the client, number of the round, number of coordinates, and content of the round → this
            client's vector. The content is what the server gives to each client, such as a model, and the
            only thing from the server that `update` may use: clients with different contents enter no common
            sum. It is called before the client joins the round; a member never calls it.

    Raises:
        ConfigError: a file cannot be read, others can read a key, or the agreement knows no such party.
        JournalError: the journal is missing, empty or damaged.
        OSError: the key of an epoch that is over cannot be deleted.
        secagg.SecAggError: a key is not the one that the agreement has.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from fedavg import SecAgg
        >>> me = Identity.generate()
        >>> known = {0: me.public, 1: Identity.generate().public, 2: Identity.generate().public}
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = Path(root) / "client-0"
        ...     folder.mkdir()
        ...     replace_file(folder / "identity", me.private_bytes(), mode=0o600)
        ...     _ = FileJournal(folder / "journal")
        ...     replace_file(folder / "agreement.json", SumAgreement(SecAgg(), 4, 9, known).to_bytes())
        ...     open_party(folder, lambda client, number, length, content: np.ones(length, np.int64))
        Party(seen='')
    """
    agreed = read_agreement(folder)
    address = agreed.addresses.get(folder.name)
    if address is None:
        raise ConfigError(f"the agreement in {folder} knows no party {folder.name!r}")
    identity = Identity.from_private_bytes(_secret(folder / "identity"))
    own = int(folder.name.partition("-")[2])
    journal = FileJournal(folder / "journal", create=False)
    if is_client(address):
        if agreed.clients[own] != identity.public:
            raise ConfigError(f"the agreement knows {folder.name} by another identity")
        vector = partial(_called, update, own, agreed.vector_length)
        rounds = ClientRounds(
            agreed.client_side(),
            own,
            identity,
            agreed.spec_of,
            vector,
            journal,
            enter=partial(agreed.enter, journal=journal),
        )
    else:
        rounds = _member(folder, agreed, own, identity, journal)
    return Party(rounds, folder / "outbox")


def _member(
    folder: Path, agreed: SumAgreement, own: int, identity: Identity, journal: FileJournal
) -> MemberRounds:
    files = SealingFiles(folder)
    # An earlier process may have ended before it deleted them.
    files.delete_before(agreed.newest_epoch(journal))
    keys = [
        SealingKey.from_private_bytes(_secret(path), identity, own, epoch=epoch)
        for epoch, path in files.paths.items()
    ]

    def enter(number: int) -> None:
        # Before the member signs anything in the new epoch, and after the record that it began.
        files.delete_before(agreed.enter(number, journal))

    return MemberRounds(agreed.member_side(identity, *keys), agreed.spec_of, journal, enter)


def begin_round(folder: Path) -> int:
    """The number of the server's next round, which is on the disk as used when this returns.

    The file is `round` in the folder. A server that ends in a round therefore opens another one when it is
    back: clients refuse a number in which they took part.

    Raises:
        ConfigError: the file holds no number.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     begin_round(Path(root)), begin_round(Path(root))
        (1, 2)
    """
    path = folder / "round"
    kept = _read(path) if path.exists() else b"0"
    if not kept.isdigit():
        raise ConfigError(f"{path} holds no number; write one above all rounds that were opened")
    number = int(kept) + 1
    replace_file(path, b"%d" % number)
    return number


def _called(
    update: Callable[[int, int, int, bytes], NDArray[np.int64]],
    own: int,
    length: int,
    number: int,
    content: bytes,
) -> NDArray[np.int64]:
    return update(own, number, length, content)


def _secret(path: Path) -> bytes:
    """A key, which nobody but its owner may have read."""
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(
            f"others can read {path}: chmod 600 it, and enrol with new keys if they did"
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
