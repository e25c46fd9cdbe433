"""Roles beside server and clients: those that the secure sum's material names, and no others."""

from __future__ import annotations

import pytest

from fedavg.server.key_holder import KeyHolder
from fedavg.server.opener import Opener
from fedavg.server.roles import opening_roles
from fedavg.sums.encrypted import Bfv
from fedavg.sums.interface import FIRST_OPENER, KEY_HOLDER
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from secagg import Identity
from tests.fedavg.records.small import resolved


@pytest.mark.parametrize(
    ("secure_sum", "wanted"),
    [
        (SecAgg(dropout_rate=0.0), {}),
        (Bfv(dropout_rate=0.0), {KEY_HOLDER: KeyHolder}),
        (
            OneShot(dropout_rate=0.0, committee=20),
            {FIRST_OPENER - i: Opener for i in range(20)},
        ),
    ],
    ids=["secagg", "bfv", "one-shot"],
)
def test_roles_by_address(secure_sum, wanted):
    found = resolved(10, secure_sum=secure_sum)
    publics = {i: Identity.generate().public for i in range(10)}
    provision = secure_sum.provision(found.spec(10, found.digest), publics)
    roles = opening_roles(found, secure_sum, provision)
    assert {address: type(role) for address, role in roles.items()} == wanted
