"""The secagg suite at tiny sizes: recordings replay, figures are counted right, and all sections report."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks import Bench, secagg
from benchmarks import __main__ as command
from benchmarks.secagg import committee, flower, growth, large, paper, primitives, rounds, session
from secagg import Client, Directory, Params, Phase, RemoteProtocolError, Server
from secagg.crypto.ring import packed_size

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.conftest import Clock

_N, _LENGTH, _SILENT, _WATCHED = 10, 400, 1, 3

needs_flower = pytest.mark.skipif(
    importlib.util.find_spec("flwr") is None, reason="Flower is in the peers' environment only"
)


@pytest.fixture(scope="module")
def recording() -> session.Recording:
    params = Params.for_cohort(_N, _LENGTH, max_abs=session.MAX_ABS)
    return session.record(params, silent=_SILENT, watched=_WATCHED)


def _bench() -> Bench:
    return Bench("secagg", "quick", Console(file=io.StringIO()))


def test_a_recording_keeps_every_message_and_one_vector(recording: session.Recording) -> None:
    size = packed_size(_LENGTH, recording.params.ring_bits)
    assert len(recording.packed) == size
    assert len(recording.messages[Phase.SHARE_KEYS]) == _N
    assert len(recording.messages[Phase.MASKED_INPUT]) == _N - _SILENT
    assert max(map(len, recording.messages[Phase.MASKED_INPUT].values())) < 200
    assert recording.masks == _N - _SILENT + recording.params.degree  # one is silent


def test_a_watched_client_is_timed_over_all_its_messages(recording: session.Recording) -> None:
    sent = [recording.messages[phase][0] for phase in recording.messages if phase is not Phase.DONE]
    assert recording.up == sum(map(len, sent)) + len(recording.packed)
    assert len(recording.client_seconds) == _WATCHED
    assert min(recording.client_seconds) > 0
    assert recording.down > 0


def test_a_replayed_server_goes_through_all_phases(recording: session.Recording) -> None:
    taken = session.replay(recording)
    assert set(taken.by_phase) == {phase.value for phase in recording.messages}
    assert taken.seconds == pytest.approx(sum(taken.by_phase.values()))
    assert (taken.peak, taken.peak_phase) == (0, "")


def test_only_the_servers_calls_are_timed(
    recording: session.Recording, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    receive = Server.receive

    def slow(self: Server, client_id: int, message: bytes) -> None:
        clock.spend(0.5)
        receive(self, client_id, message)

    monkeypatch.setattr(Server, "offer", lambda _: clock.spend(0.2))  # replayed, not asked for
    assert session.replay(recording).seconds == 0
    monkeypatch.setattr(Server, "receive", slow)
    received = sum(len(phase) for phase in recording.messages.values())
    assert session.replay(recording).seconds == pytest.approx(0.5 * received)


def test_what_the_server_holds_is_counted_beyond_one_upload(recording: session.Recording) -> None:
    held = session.replay(recording, trace=True)
    vectors = sum(
        len(message) for phase in recording.messages.values() for message in phase.values()
    )
    assert held.peak > vectors / 4
    assert held.peak_phase in {phase.value for phase in recording.messages}


def test_memory_that_a_server_hoards_would_be_seen(
    recording: session.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, take, hoard = session.replay(recording, trace=True).peak, Server.receive, []

    def receive(self: Server, client_id: int, message: bytes) -> None:
        take(self, client_id, message)
        hoard.append(bytearray(1 << 20))

    monkeypatch.setattr(Server, "receive", receive)
    assert session.replay(recording, trace=True).peak - plain > len(recording.identities) << 20


def test_a_watched_client_verifies_its_neighbours_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: with one directory for all, signatures that held for others cost a client nothing."""
    directories: set[int] = set()
    join = Client.from_offer.__func__

    def from_offer(cls: type[Client], offer: bytes, who: int, me: object, known: Directory, **kw):
        directories.add(id(known))
        return join(cls, offer, who, me, known, **kw)

    monkeypatch.setattr(Client, "from_offer", classmethod(from_offer))
    params = Params.for_cohort(5, 8, max_abs=session.MAX_ABS)
    session.record(params, watched=3)
    assert len(directories) == 3 + 1


def test_sessions_are_forgotten_but_parameters_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from secagg.params import params
    from secagg.session import roster

    @functools.cache
    def fact() -> object:
        return object()

    monkeypatch.setattr(roster, "planted", fact, raising=False)
    monkeypatch.setattr(params, "planted", fact, raising=False)
    first = fact()
    session.forget_sessions()
    assert fact() is not first
    monkeypatch.delattr(roster, "planted")
    second = fact()
    session.forget_sessions()
    assert fact() is second


def test_what_depends_on_who_holds_shares_is_forgotten() -> None:
    """On a sparse graph each dealer has holders of its own, others in each session."""
    from secagg.crypto import shamir

    shares = shamir.deal([bytes(32)], [1, 2, 3], threshold=2)
    shamir.rebuild([1, 3], [shares[0, 0].tobytes(), shares[2, 0].tobytes()])
    assert shamir._weights_at_zero.cache_info().currsize
    session.forget_sessions()
    assert not shamir._weights_at_zero.cache_info().currsize
    assert shamir._powers.cache_info().currsize
    assert shamir._logarithms.cache_info().currsize


def test_a_wrong_sum_is_no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    result = Server.result

    def wrong(self: Server) -> object:
        honest = result(self)
        return replace(honest, total=honest.total + 1)

    monkeypatch.setattr(Server, "result", wrong)
    with pytest.raises(RuntimeError, match="wrong sum"):
        session.record(Params.for_cohort(5, 8, max_abs=session.MAX_ABS))


def test_a_replay_is_no_way_around_the_servers_checks(recording: session.Recording) -> None:
    messages = {phase: dict(sent) for phase, sent in recording.messages.items()}
    shares = messages[Phase.SHARE_KEYS]
    shares[0], shares[1] = shares[1], shares[0]
    forged = session.Recording(
        **{
            name: messages if name == "messages" else getattr(recording, name)
            for name in session.Recording.__slots__
        }
    )
    with pytest.raises(RemoteProtocolError, match="another client's name"):
        session.replay(forged)


@pytest.mark.parametrize("degree", [10, 19])
def test_a_peers_degree_is_found_by_varying_the_threat(degree: int) -> None:
    params = session.like_for_like(20, 4, degree)
    assert (params.degree, params.threat_model) == (degree, "malicious")


def test_a_degree_that_no_threat_gives_is_refused() -> None:
    with pytest.raises(ValueError, match="never have 7"):
        session.like_for_like(20, 4, 7)


def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest choice that `pick` is given, smaller still; each contestant once."""

    def pick(self: Bench, *, quick: object, default: object, full: object) -> object:
        tiny = {
            (20, 50_000): (20, 300),
            (60, 50_000): (20, 300),
            100_000: 3_000,
            (10, 30, 100): (10, 12),
            (1_000, 10_000, 100_000): (200, 300, 400),
            (100, 51): (12, 7),
        }
        return tiny.get(quick, quick)

    contest = Bench.contest

    def once(self: Bench, title: str, contestants: dict, **_: object) -> dict:
        return contest(self, title, contestants, rounds=1, warm_up=False)

    monkeypatch.setattr(Bench, "pick", pick)
    monkeypatch.setattr(Bench, "contest", once)


def test_our_side_alone_reports_every_section(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tiny(monkeypatch)
    monkeypatch.setattr(Bench, "peer", lambda *_: None)
    assert command.main(["secagg", "--quick", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["ours"]) == {
        "mask_share",
        "shamir",
        "client_complete",
        "server_complete",
        "upload",
        "client_sparse",
        "server_sparse",
        "download",
        "session",
        "server_1000",
        "server_1000_cipher",
        "unpacking_1000",
        "memory_1000",
        "client_1000",
        "committee_client",
        "committee_member",
        "committee_down",
        "committee_opening",
        "cores_masks",
        "cores_unmask",
    }
    assert set(told["ratios"]) == {
        "mask_share",
        "session",
        "server_1000_cipher",
        "committee_opening",
        "cores_masks",
        "cores_unmask",
    }
    assert told["ours"]["upload"] > 20  # bits a parameter, and at this size mostly shares
    results = json.loads((tmp_path / "secagg.json").read_text(encoding="utf-8"))
    assert {curve["key"] for curve in results["curves"]} == {"cost_by_n", "cost_by_d"}
    assert len(results["curves"][1]["lines"]["client"]) == 3
    assert {table["key"] for table in results["tables"]} == {"by_n", "paper"}


def test_on_paper_a_million_clients_have_parameters() -> None:
    bench = _bench()
    paper.run(bench)
    (table,) = bench.tables
    cells = {(row[0], row[1], row[2]): row[3] for row in table.rows}
    assert isinstance(cells["malicious-local", 0.05, "1,000,000"], int)
    assert cells["malicious", 0.05, "1,000,000"] == "–"


def test_ten_thousand_clients_are_compared_by_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The section of a full run, on recordings that are stood in for."""
    recorded = large.record

    def small(params: Params, **options: object) -> session.Recording:
        return recorded(Params.for_cohort(8, 20, max_abs=session.MAX_ABS), watched=2)

    monkeypatch.setattr(large, "record", small)
    bench = Bench("secagg", "full", Console(file=io.StringIO()))
    large.ten_thousand(bench)
    client, server = bench.measures
    assert client.ratio == pytest.approx(client.ours / client.peer)
    assert client.bar is not None
    assert client.bar.at_most
    assert server.ours > 0


@needs_flower
@pytest.mark.parametrize("shares", [6, 5])
def test_flowers_own_protocol_runs_and_averages(shares: int) -> None:
    played = flower.play(6, 50, shares=shares, threshold=3, silent=1)
    assert played.error < 1e-3
    assert len(played.client_seconds) == 5
    assert min(*played.client_seconds, played.server_seconds) > 0
    assert played.up > 8 * 50
    assert played.down > 0


@needs_flower
def test_both_sides_report_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    _tiny(monkeypatch)
    bench = _bench()
    primitives.run(bench, peer=True)
    rounds.run(bench, peer=True)
    ratios = {m.key for m in bench.measures if m.ratio is not None}
    assert {"mask", "shamir", "client_complete", "server_complete", "client_sparse"} <= ratios


def test_a_committee_reports_its_figures() -> None:
    bench = _bench()
    committee.run(bench)
    found = {measure.key: measure for measure in bench.measures}
    assert {"committee_client", "committee_member", "committee_opening"} <= found.keys()
    down = found["committee_down"].ours
    params = 20 * (100 + 64 + 100)  # heads and signatures of twenty clients, twice
    assert isinstance(down, int)
    assert down > params
    assert found["committee_opening"].ratio is not None


def test_the_suite_is_its_sections() -> None:
    assert secagg.__all__ == ["run"]
    assert growth.__all__ == large.__all__[:1] == ["run"]
