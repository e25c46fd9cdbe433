"""A node's keys stay in its folder."""

from __future__ import annotations

import copy
import pickle

import pytest

from fedavg.adapters.exchange.keys.keys import KEYS_FILE, Card, NodeKeys
from fedavg.errors import ConfigError


def test_they_come_back_and_are_readable_by_their_owner_alone(tmp_path):
    keys = NodeKeys.generate(7)
    keys.write(tmp_path / "new" / "folder")
    path = tmp_path / "new" / "folder" / KEYS_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    back = NodeKeys.read(path.parent)
    assert back.card == keys.card
    assert back.identity.private_bytes() == keys.identity.private_bytes()


def test_they_are_never_overwritten(tmp_path):
    NodeKeys.generate(7).write(tmp_path)
    with pytest.raises(ConfigError, match="exists"):
        NodeKeys.generate(7).write(tmp_path)


def test_keys_that_others_can_read_are_refused(tmp_path):
    NodeKeys.generate(7).write(tmp_path)
    (tmp_path / KEYS_FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="others can read"):
        NodeKeys.read(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"node": 1, "identity": "00"}',
        # of an earlier version, with the one sealing key of all rounds
        b'{"node": 1, "identity": "%b", "sealing": "%b"}' % (b"01" * 32, b"02" * 32),
        b"x",
    ],
)
def test_damaged_keys_are_refused_without_being_quoted(tmp_path, data):
    (tmp_path / KEYS_FILE).write_bytes(data)
    (tmp_path / KEYS_FILE).chmod(0o600)
    with pytest.raises(ConfigError, match="damaged") as found:
        NodeKeys.read(tmp_path)
    assert found.value.__suppress_context__


def test_missing_keys(tmp_path):
    with pytest.raises(ConfigError, match="there are no keys"):
        NodeKeys.read(tmp_path)


def test_no_secret_is_shown_or_copied():
    keys = NodeKeys.generate(7)
    sealing = keys.sealing.secret(keys.sealing.epochs()[0])
    for secret in (keys.identity.private_bytes(), sealing):
        assert secret.hex() not in repr(keys) + str(keys) + keys.card.to_text()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(keys)
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.deepcopy(keys)


def test_a_card_comes_back_from_its_line():
    card = NodeKeys.generate(2**32 - 1).card
    assert Card.from_text(card.to_text() + "\n") == card


@pytest.mark.parametrize("text", ["", "zz", "00" * 40, "46584331"])
def test_no_card(text):
    with pytest.raises(ConfigError, match="no card"):
        Card.from_text(text)
