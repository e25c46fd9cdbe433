"""Each check of secagg taken out, one at a time: a hostile test of the same attack fails without it."""

from __future__ import annotations

import numpy as np
import pytest

import secagg.guards.checks
import secagg.roles.client.client
import secagg.roles.client.consistency
import secagg.roles.client.masking
import secagg.session.roster
import secagg.wire.bodies
from secagg import (
    Client,
    Directory,
    Phase,
    Policy,
    RemoteProtocolError,
    Server,
    WireFormatError,
)
from secagg.crypto.keys import AgreementKey
from secagg.roles.server import admission
from secagg.roles.server.staging import Staging
from secagg.roles.server.tally import Tally
from secagg.wire.bodies import DECODERS
from secagg.wire.messages import Signatures
from tests.hostile.mutants import FOUND, without
from tests.hostile.secagg.lying_clients import test_client as clients
from tests.hostile.secagg.lying_clients import test_uploads as uploads
from tests.hostile.secagg.lying_server import test_offers as offers
from tests.hostile.secagg.lying_server import test_partners as partners
from tests.hostile.secagg.lying_server import test_roster as rosters
from tests.hostile.secagg.lying_server import test_server as servers


def missed(test, *arguments):
    """The test says that the attack went through."""
    with pytest.raises(FOUND):
        test(*arguments)


def test_s1_mutant_that_answers_at_any_time(monkeypatch):
    without(
        monkeypatch, secagg.roles.client.client, "check_kind", "kind is not CLIENT_AWAITS[phase]"
    )
    missed(servers.test_s1_a_second_survivor_set_before_the_first_answer)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("few", "shown < quorum"),
        ("forged", "not directory.verify(entry.identity, signature, signed)"),
        ("dead", "position >= len(roster.entries) or not survivors.members[position]"),
    ],
)
def test_s2_mutant_that_takes_a_quorum_that_is_none(fault, check, monkeypatch):
    without(monkeypatch, secagg.roles.client.client, "check_quorum", check)
    missed(servers.test_s2_quorums_that_are_none, fault)


def test_s2_mutant_that_counts_a_signature_twice(monkeypatch):
    ascending = "any(a[0] >= b[0] for a, b in itertools.pairwise(signatures))"
    mutant = without(monkeypatch, secagg.wire.bodies, "_signatures", ascending)
    monkeypatch.setitem(DECODERS, Signatures, mutant)
    missed(servers.test_s2_quorums_that_are_none, "twice")


def test_s3_mutant_that_reads_past_the_padding(monkeypatch):
    without(monkeypatch, secagg.wire.bodies, "_unpack_flags", "flags[count:].any()")
    missed(servers.test_s3_padding_hides_no_further_id)


def test_s3_mutant_that_masks_without_being_a_partner(monkeypatch):
    without(monkeypatch, secagg.roles.client.consistency, "_check_members", "not members[position]")
    missed(partners.test_s3_lies_about_the_partners, "without this client")


def test_s3_mutant_that_lets_edges_be_cut(monkeypatch):
    without(monkeypatch, secagg.roles.client.client, "check_partners", "place not in opened")
    monkeypatch.setattr(secagg.roles.client.client, "partners_of", lambda *_: (2, 3, 4))
    missed(partners.test_s3_edges_cannot_be_cut_one_by_one)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("check", "params.min_survivors < self.min_survivors"),
        ("check", "params.corrupt_rate < self.min_corrupt_rate"),
        ("check", "params.n_clients > self.max_clients"),
        ("_check_model", "not self.allow_semi_honest"),
    ],
)
def test_s4_mutant_policies(name, check, monkeypatch):
    without(monkeypatch, Policy, name, check)
    missed(offers.test_s4_a_clients_own_floors)


def test_s5_mutant_that_goes_on_below_the_floor(monkeypatch):
    without(monkeypatch, Tally, "_need", "count < least")
    for phase in (Phase.ADVERTISE_KEYS, Phase.SHARE_KEYS, Phase.CHECK_SHARES, Phase.MASKED_INPUT):
        with pytest.raises((*FOUND, RemoteProtocolError)):  # clients refuse, in the end
            offers.test_s5_too_few_survivors_give_no_sum(phase)


@pytest.mark.parametrize(
    ("name", "owner", "function", "check", "instead"),
    [
        (
            "own altered",
            secagg.roles.client.client,
            "own_position",
            "position is None or roster.entries[position] != own",
            "position is None",
        ),
        (
            "one key for two",
            secagg.session.roster,
            "_roster",
            "len(set(keys)) != 2 * size",
            "False",
        ),
        (
            "too few",
            secagg.session.roster,
            "_roster",
            "not params.min_roster <= size <= params.n_clients",
            "False",
        ),
        (
            "not canonical",
            AgreementKey,
            "agree",
            'int.from_bytes(public, "little") >= _FIELD',
            "False",
        ),
    ],
)
def test_s6_mutant_clients(name, owner, function, check, instead, monkeypatch):
    without(monkeypatch, owner, function, check, instead)
    if name == "own altered":  # the client's signature on the stranger's key would hold: it lent it
        monkeypatch.setattr(secagg.roles.client.client, "check_roster", lambda *_: None)
    missed(rosters.test_s6_s7_tampered_rosters, name)


@pytest.mark.parametrize(
    ("name", "owner", "function", "check"),
    [
        ("not canonical", admission, "check_keys", "not all(map(acceptable_agreement_key, keys))"),
        ("low order", admission, "check_keys", "not all(map(acceptable_agreement_key, keys))"),
        ("taken", admission, "check_keys", "keys[0] == keys[1] or not taken.isdisjoint(keys)"),
        ("same twice", admission, "check_keys", "keys[0] == keys[1] or not taken.isdisjoint(keys)"),
        (
            "forged",
            admission,
            "check_keys",
            "not directory.verify(message.identity, message.signature, message.signed(session))",
        ),
        ("posing", Server, "_take", 'getattr(content, "client_id", None) != client_id'),
    ],
)  # fmt: skip
def test_s6_mutant_servers(name, owner, function, check, monkeypatch):
    without(monkeypatch, owner, function, check)
    missed(clients.test_s6_keys_that_cannot_stand_on_the_roster, name)


def test_s7_mutant_server_without_its_directory(monkeypatch):
    monkeypatch.setattr(Directory, "check", lambda *_: None)
    missed(clients.test_s7_with_a_directory_the_server_turns_away_foreign_identities)


def test_s7_mutant_that_calls_a_trusted_server_malicious(monkeypatch):
    without(monkeypatch, Policy, "_check_model", "not directory.pinned")
    missed(rosters.test_s7_trusting_the_server_must_be_said_and_is_not_called_malicious)


def test_s8_mutant_that_takes_any_session(monkeypatch):
    without(monkeypatch, secagg.roles.client.client, "check_kind", "named != session")
    missed(servers.test_s8_messages_of_another_session, Phase.MASKED_INPUT)


def test_s8_mutant_that_believes_a_sessions_name(monkeypatch):
    without(
        monkeypatch,
        secagg.roles.client.client,
        "accept_offer",
        "session != message.session(context)",
    )
    missed(servers.test_s8_a_forged_session_name)


def test_s10_mutant_that_goes_on_after_a_fork(monkeypatch):
    without(monkeypatch, Client, "_check_process", "self._process != os.getpid()")
    missed(partners.test_s10_a_client_stays_in_its_process, monkeypatch)
    missed(partners.test_s10_two_processes_after_a_fork_do_not_both_answer)


@pytest.mark.parametrize(
    ("test", "function", "check", "arguments"),
    [
        (
            clients.test_shares_with_a_signature_that_does_not_hold,
            "_check_signature",
            "not directory.verify(identity, message.signature, signed)",
            (),
        ),
        (
            clients.test_receipts_for_shares_that_cannot_be,
            "check_opened",
            "not opened <= dealers or len(opened) + 1 < roster.params.threshold",
            ((True,) * 5, "dealt none"),
        ),
        (
            clients.test_receipts_for_shares_that_cannot_be,
            "check_opened",
            "not opened <= dealers or len(opened) + 1 < roster.params.threshold",
            ((False,) * 5, "too few"),
        ),
        (
            clients.test_a_signature_over_other_survivors,
            "_check_signature",
            "not directory.verify(identity, message.signature, signed)",
            (),
        ),
        (
            clients.test_s12_malformed_unmask_shares,
            "check_shares",
            "not canonical(own)",
            ("own share",),
        ),
    ],
)
def test_s12_mutant_servers(test, function, check, arguments, monkeypatch):
    without(monkeypatch, admission, function, check)
    missed(test, *arguments)


def test_o1_mutant_that_sums_other_shapes(monkeypatch):
    """The ring's own check of sizes stands behind, and does not know whom to name."""
    check = "(message.length, message.bits) != (params.vector_length, bits)"
    without(monkeypatch, admission, "check_input_apart", check)
    with pytest.raises(WireFormatError):
        clients.test_o1_inputs_of_another_shape({"length": 3, "packed": bytes(6)}, "another length")


@pytest.mark.parametrize(
    ("test", "owner", "function", "check"),
    [
        (
            uploads.test_parts_without_end_are_bounded,
            Staging,
            "add",
            "len(upload.data) + len(payload) > limit",
        ),
        (
            uploads.test_parts_of_another_count_change_nothing,
            Staging,
            "add",
            "index != upload.taken or parts != upload.parts",
        ),
        (
            uploads.test_parts_of_a_late_input_are_refused_unread,
            Server,
            "_check_sender",
            "client_id not in self._live",
        ),
    ],
)
def test_s11_mutants_that_take_parts_at_will(test, owner, function, check, monkeypatch):
    without(monkeypatch, owner, function, check)
    missed(test)


def test_e3_mutant_that_takes_any_array(monkeypatch):
    check = "array.dtype != np.int64 or array.shape != (length,)"
    mutant = without(monkeypatch, secagg.guards.checks, "plain_array", check)
    monkeypatch.setattr(secagg.roles.client.masking, "plain_array", mutant)
    missed(servers.test_e3_shapes_and_types_of_inputs, np.zeros(3, np.int64))
