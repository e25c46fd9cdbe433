"""Seals that open for one key, one text and one place only."""

from __future__ import annotations

import pytest

from secagg.crypto.sealed import TAG_SIZE, open_sealed, route_keys, seal

KEY, TEXT, PLACE = bytes(16), b"two shares", b"from 1 to 2"


def test_a_seal_opens_where_it_belongs():
    sealed = seal(KEY, TEXT, PLACE)
    assert len(sealed) == len(TEXT) + TAG_SIZE
    assert open_sealed(KEY, sealed, PLACE) == TEXT


@pytest.mark.parametrize("bit", range(0, 8 * (len(TEXT) + TAG_SIZE), 7))
def test_a_bit_of_text_or_tag_altered(bit):
    sealed = int.from_bytes(seal(KEY, TEXT, PLACE), "little") ^ 1 << bit
    bent = sealed.to_bytes(len(TEXT) + TAG_SIZE, "little")
    assert open_sealed(KEY, bent, PLACE) is None


def test_another_place_key_or_size():
    sealed = seal(KEY, TEXT, PLACE)
    assert open_sealed(KEY, sealed, b"from 1 to 3") is None
    assert open_sealed(bytes(15) + b"\1", sealed, PLACE) is None
    for part in (b"", sealed[:5], sealed[:-1], sealed + b"\0"):
        assert open_sealed(KEY, part, PLACE) is None


def test_each_direction_session_and_roster_has_its_own_key():
    places = [(s, r, a, b) for s in (b"s", b"t") for r in (b"r", b"q") for a, b in ((1, 2), (1, 3))]
    keys = {
        key
        for s, r, own, other in places
        for key in route_keys(bytes(32), session=s, root=r, own=own, other=other)
    }
    assert len(keys) == 2 * len(places)
