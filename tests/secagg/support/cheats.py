"""Clients that deal wrong secrets or accuse, in sessions of a Lab."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secagg import Aborted, Phase
from secagg.crypto.keys import AgreementKey
from tests.secagg.support.lab import Lab


def another_seed(message):
    """Kind 3: commits to another seed than it deals shares of."""
    return replace(message, seed_commitment=bytes(32))


def another_share(message):
    """Kind 11: an own share that lies on no polynomial."""
    own, *others = message.shares
    return replace(message, shares=(bytes([own[0] ^ 1]) + own[1:], *others))


def accusing(lab, client_id, victims):
    """Kind 5: says of some neighbours (ids) that their shares did not open."""

    def lie(message):
        around = lab.roster.neighbours(lab.roster.positions[client_id])
        opened = zip(around, message.opened, strict=True)
        flags = tuple(flag and lab.roster.client_id(place) not in victims for place, flag in opened)
        return replace(message, opened=flags)

    return {Phase.CHECK_SHARES: lie}


def with_another_key(lab, *clients):
    """These deal shares of another mask key than they advertise, and then give no input."""
    lab.run_to(Phase.SHARE_KEYS)
    for i in clients:
        lab.clients[i]._secrets.mask = AgreementKey.generate()
    return {"silent": dict.fromkeys(clients, Phase.MASKED_INPUT)}


def ended(lab, **play):
    """How a session ends that has no sum."""
    with pytest.raises(Aborted) as caught:
        lab.run_to(Phase.DONE, **play)
    return caught.value


def exact(lab):
    """The survivors of a session whose total is right."""
    result = lab.server.result()
    assert np.array_equal(result.total, lab.total(result.survivors))
    return result.survivors


def seven(**rates):
    return Lab(7, **({"dropout_rate": 0.3, "corrupt_rate": 0.0} | rates))


# Sessions in which client 20 is convicted -----------------------------------------------------------------


def wrong_seed():
    lab = seven()
    return lab, ended(lab, lies={20: {Phase.SHARE_KEYS: another_seed}})


def wrong_key():
    lab = seven()
    return lab, ended(lab, **with_another_key(lab, 20))


def wrong_own_share():
    """So many fall silent that its own share has to be used."""
    lab = seven()
    silent = dict.fromkeys(
        [i for i in lab.ids if i != 20][: 7 - lab.params.threshold], Phase.UNMASK
    )
    return lab, ended(lab, silent=silent, lies={20: {Phase.UNMASK: another_share}})


def many_disputes():
    lab = Lab(20, dropout_rate=0.2, corrupt_rate=0.1)
    lab.run_to(Phase.CHECK_SHARES)
    around = lab.roster.neighbours(lab.roster.positions[20])
    victims = {lab.roster.client_id(place) for place in around[:3]}
    lab.run_to(Phase.DONE, lies={20: accusing(lab, 20, victims)})
    return lab, lab.server.result()
