"""Runs the machine on the code, and on mutants that it must catch.

`pytest tests/secagg/protocol/stateful --hypothesis-profile=long` runs 500 examples of 50 steps.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

import secagg.roles.client.client
import secagg.roles.server.admission
import secagg.roles.server.unmask
from secagg import Client, Phase, Server
from secagg.roles.server.staging import Staging
from tests.hostile.mutants import without
from tests.secagg.protocol.stateful.machine import LocalSessions, Sessions

QUICK = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(
    QUICK,
    max_examples=1000,
    database=None,
    derandomize=True,
    phases=[Stage.generate],
    print_blob=False,
    report_multiple_bugs=False,
)
LONG = settings.get_current_profile_name() == "long"


@pytest.mark.parametrize("sessions", [Sessions, LocalSessions])
def test_sessions_under_attack(sessions):
    run_state_machine_as_test(
        sessions, settings=settings(settings(), deadline=None) if LONG else QUICK
    )


MUTANTS = {
    "a second message is taken": (
        Phase.SHARE_KEYS,
        (Server, "_check_sender", "if client_id in self._answers", "if False"),
    ),
    "anyone speaks for anyone": (
        Phase.MASKED_INPUT,
        (Server, "_take", 'getattr(content, "client_id", None) != client_id'),
    ),
    "old sessions count": (Phase.CHECK_SHARES, (Server, "_take", "session != self._session")),
    "shares are not compared with commitments": (
        Phase.UNMASK,
        (secagg.roles.server.admission, "check_shares", "given != promised"),
    ),
    "masks of drop-outs stay in": (
        Phase.MASKED_INPUT,
        (secagg.roles.server.unmask, "_orphans", "if other not in survivors", "if False"),
    ),
    "secrets outlive an error": (
        Phase.SHARE_KEYS,
        (Client, "_acting", "self._secrets = None", "pass"),
    ),
    "no quorum is needed": (
        Phase.CONSISTENCY,
        (secagg.roles.client.client, "check_quorum", "shown < quorum"),
    ),
    "vectors that nobody signed are added": (
        Phase.MASKED_INPUT,
        (
            secagg.roles.server.admission,
            "check_input",
            "_check_signature(message, roster, directory, message.signed(roster.session, partner_root))",
            "None",
        ),
    ),
    "chunks come in any order": (
        Phase.UNMASK,
        (Staging, "add", "index != upload.taken or parts != upload.parts"),
    ),
    "clients answer at any time": (
        Phase.UNMASK,
        (secagg.roles.client.client, "check_kind", "kind is not CLIENT_AWAITS[phase]"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_machine_catches_a_mutant(name, monkeypatch):
    """Attacked from the phase that the mutant weakens; the first example that fails ends the run."""
    caught(Sessions, *MUTANTS[name], monkeypatch)


LOCAL_MUTANTS = {
    "no quorum is needed": (
        Phase.CONSISTENCY,
        (secagg.roles.client.client, "check_quorum", "shown < quorum"),
    ),
    "signatures of other survivors count": (
        Phase.CONSISTENCY,
        (
            secagg.roles.client.client,
            "check_quorum",
            "not directory.verify(entry.identity, signature, signed)",
        ),
    ),
    "inputs signed by nobody are added": (
        Phase.MASKED_INPUT,
        (
            secagg.roles.server.admission,
            "check_input_apart",
            "not directory.verify(identity, message.partner_signature, signed)",
        ),
    ),
}


@pytest.mark.parametrize("name", LOCAL_MUTANTS)
def test_the_machine_catches_a_mutant_with_quorums_of_neighbours(name, monkeypatch):
    caught(LocalSessions, *LOCAL_MUTANTS[name], monkeypatch)


def caught(sessions, begin, mutant, monkeypatch):
    without(monkeypatch, *mutant)
    monkeypatch.setattr(Sessions, "begin", begin)
    with pytest.raises(Exception) as found:  # noqa: PT011 - whatever it breaks first
        run_state_machine_as_test(sessions, settings=HUNT)
    assert not isinstance(found.value, HypothesisException)
