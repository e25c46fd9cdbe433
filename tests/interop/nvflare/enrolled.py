"""Folders of all parties on one machine, and which site runs which of them."""

from __future__ import annotations

from fedavg import OneShot, SecAgg
from fedavg.adapters.polling import SumAgreement
from fedavg.files import FileJournal, replace_file
from secagg import Identity
from secagg.committee import SealingKey


def enrol(root, clients, members, length=200, sites=None):
    """Site → parties: client i and member i are at site i + 1, modulo the number of sites if given."""
    public, cards = {"client": {}, "member": {}}, []
    for role, count in (("client", clients), ("member", members)):
        for number in range(count):
            folder, identity = root / f"{role}-{number}", Identity.generate()
            folder.mkdir(parents=True)
            replace_file(folder / "identity", identity.private_bytes(), mode=0o600)
            FileJournal(folder / "journal")
            public[role][number] = identity.public
            if role == "member":
                sealing = SealingKey.generate(identity, number, epoch=1)
                replace_file(folder / "sealing-1", sealing.private_bytes(), mode=0o600)
                cards.append(sealing.card)
    once = OneShot(0.2, 0.1, committee=members or 20, corrupt_members=1, absent_members=1)
    agreed = SumAgreement(
        once if members else SecAgg(0.2, 0.1), length, 2**15, *public.values(), tuple(cards)
    )
    (root / "server").mkdir()
    found = {}
    for name in ("server", *agreed.addresses):
        replace_file(root / name / "agreement.json", agreed.to_bytes())
    for name in agreed.addresses:
        place = int(name.split("-")[1])
        found.setdefault(f"site-{(place % sites if sites else place) + 1}", []).append(name)
    return found
