"""R2, R3, R4, R7: silos that leave, coins that show, one row more, and attempts at a step."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import nn

from dp import Ledger
from fedavg.data.dataset import Dataset
from fedavg.errors import LocalProtocolError
from fedavg.losses import CrossEntropy
from fedavg.privacy.noise import guaranteed_variance
from fedavg.protocol.agreement import agreed_spec
from fedavg.protocol.messages import RoundStart, SumOpen, encode, round_context, start_digest
from fedavg.protocol.transcript import Transcript
from fedavg.records import table
from fedavg.records.accounts import NoiseAccount
from fedavg.records.clipped import contained
from fedavg.records.federation import RecordFederation
from fedavg.records.resolution import ResolvedRecords
from fedavg.records.silo import SiloParty
from fedavg.records.table import Silo, UnitTable
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.records.small import (
    LENGTH,
    federation,
    plan,
    privacy,
    records,
    resolved,
    silos,
    softmax,
)
from tests.hostile.mutants import FOUND, without

SECURE = SecAgg(dropout_rate=0.0)
STEPS, OUTPUTS = 8, 100


class Still(nn.Module):
    """A model whose gradient is zero, so that what is released is noise alone."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(5, OUTPUTS)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.dense(rows) * 0.0


def _released_noise(secure_sum, silent) -> tuple[np.ndarray, float]:
    """The released noise of all steps in grid units, and the variance that the account counts."""
    run = federation(silos(5), model=Still(), secure_sum=secure_sum, silent=silent, steps=STEPS)
    steps, before = [], run.released
    for _ in run.run():
        steps.append((before - run.released) * 40.0 * run.resolution.scale)
        before = run.released
    account = run.resolution.account
    return np.concatenate(steps), guaranteed_variance(account.noise, account.sensitivity)


def _leaves(_step: int, stage: str) -> frozenset[int]:
    return frozenset({12} if stage in ("masked_input", "upload") else ())


def _carries_the_claim(noise: np.ndarray, claimed: float) -> bool:
    """Whether the variance is at least the claimed one; a false alarm has probability 1e-6."""
    return float(np.square(noise).sum()) >= claimed * chi2.ppf(1e-6, noise.size)


@pytest.mark.parametrize(
    "silent", [lambda *_: frozenset(), _leaves], ids=["all there", "one leaves"]
)
@pytest.mark.parametrize(
    "secure_sum", [SECURE, SecAgg(dropout_rate=0.2), InsecurePlain(dropout_rate=0.2)], ids=str
)
def test_r2_what_is_released_carries_the_claimed_noise_whoever_leaves(secure_sum, silent):
    """4,800 draws of noise, whose mean square is known to 2 %."""
    noise, claimed = _released_noise(secure_sum, silent)
    assert _carries_the_claim(noise, claimed)


def test_r2_the_honest_shares_alone_carry_it():
    """Shares of the smallest honest number of silos, by arithmetic, for every roster."""
    for rate in (0.0, 0.1, 0.2):
        found = resolved(10, secure_sum=SecAgg(dropout_rate=rate))
        for roster in range(found.floor, 11):
            sums = found.plan.secure_sum
            honest = sums.min_survivors(roster) - found.colluders
            noise = honest * found.account.share_variance(roster)
            assert noise >= guaranteed_variance(found.account.noise, found.sensitivity) * (
                1 - 1e-12
            )


def _withstood_by_every_roster(rate: float, corrupt: float) -> None:
    """A server keeps all its colluders and leaves honest silos out, as far as silos go along.

    Colluders who hold as many shares as the threshold open the vector of every single silo.
    """
    found = resolved(60, secure_sum=SecAgg(dropout_rate=rate, corrupt_rate=corrupt))
    sums, c = found.plan.secure_sum, found.colluders
    assert c == math.ceil(60 * corrupt)
    for roster in range(found.floor, 61):
        params = sums.params(found.spec(roster, b""))
        assert params.colluders >= c
        assert params.threshold > c
    with pytest.raises(LocalProtocolError):
        agreed_spec(found, 0, found.floor - 1, b"")


CORRUPT = ((0.0, 0.1), (0.2, 0.1), (0.0, 0.3))


@pytest.mark.parametrize(("rate", "corrupt"), CORRUPT)
def test_r2_every_roster_withstands_all_colluders(rate, corrupt):
    _withstood_by_every_roster(rate, corrupt)


@pytest.mark.parametrize(("rate", "corrupt"), CORRUPT)
def test_r2_mutant_whose_rosters_may_shrink_to_the_colluders_is_found(monkeypatch, rate, corrupt):
    """Two honest silos beside all colluders are left: of eight silos six hold four shares."""
    mutant = without(
        monkeypatch,
        SimpleNamespace(floor=ResolvedRecords.floor.fget),
        "floor",
        "sums.colluders(n) >= c",
        "True",
    )
    monkeypatch.setattr(ResolvedRecords, "floor", property(mutant))
    with pytest.raises(FOUND):
        _withstood_by_every_roster(rate, corrupt)


def test_r2_mutant_sized_for_the_whole_roster_falls_short(monkeypatch):
    without(
        monkeypatch, NoiseAccount, "counted", "roster - self.missing - self.colluders", "roster"
    )
    noise, claimed = _released_noise(SecAgg(dropout_rate=0.2), _leaves)
    assert not _carries_the_claim(noise, claimed)  # four of five shares of a fifth: five deviations


def test_r2_a_sum_without_a_silo_is_not_opened_by_default():
    """The protocol itself refuses: a server that claims that a silo is gone gets no sum."""
    run = federation(silos(5), secure_sum=SECURE, silent=_leaves)
    first = next(iter(run.run()))
    assert first.silos == 4
    assert "Aborted" in first.voided[0]
    assert run.rosters == {5: 1, 4: 1}
    assert all(
        len(party._ledger.history) == 3
        for party in run._parties.silos.values()
        if party.silo_id != 12
    )


# R3: what leaves does not depend on who was drawn.


def _trace(run: RecordFederation, monkeypatch, coins) -> tuple[list[int], list[tuple[int, ...]]]:
    """Lengths of all messages to the server, and shapes of all micro-batches, under chosen coins."""
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(table, "random_uniform", coins)
    for party in run._parties.silos.values():
        gradients = party._setting.gradients
        honest = type(gradients).clipped_sum

        def noted(self, units, clip, honest=honest, **more):
            shapes.append(tuple(units.features.shape))
            return honest(self, units, clip, **more)

        monkeypatch.setattr(type(gradients), "clipped_sum", noted)
        break
    list(run.run())
    lengths = [len(entry.message) for entry in run.transcript if entry.direction == "up"]
    return lengths, shapes


def _run(**changes) -> RecordFederation:
    record = Transcript(frozenset(range(3)))
    return RecordFederation(
        softmax(), silos(), plan(secure_sum=SECURE, **changes), transcript=record
    )


DRAWS = {"nobody": np.ones, "everybody": np.zeros, "half": lambda n: np.linspace(0, 0.5, n)}


def _traces(monkeypatch, **changes) -> list[tuple[list[int], list[tuple[int, ...]]]]:
    found = []
    for coins in DRAWS.values():
        with monkeypatch.context() as patched:
            found.append(_trace(_run(**changes), patched, coins))
    return found


def test_r3_lengths_and_work_are_those_of_an_empty_draw(monkeypatch):
    first, *others = _traces(monkeypatch)
    assert all(other == first for other in others)


def test_r3_mutant_without_padding_shows_the_number_of_drawn_units(monkeypatch):
    first, *others = _traces(monkeypatch, padded=False)
    assert any(other[1] != first[1] for other in others)


def test_r3_results_and_refusals_say_nothing_of_the_draw(monkeypatch):
    """A record that makes the module raise leaves no trace outside of its silo."""

    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(5, 3)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.dense(torch.log(rows + 1e6))  # NaN for rows below −1e6

    odd = records(40, 1)
    features = odd.features.copy()
    features[3] = -1e9
    given = silos() | {11: Dataset(features, odd.labels)}
    record = Transcript(frozenset(range(3)))
    run = RecordFederation(Choosy(), given, plan(secure_sum=SECURE, rate=1.0), transcript=record)
    assert len(list(run.run())) == 3
    assert np.isfinite(run.released).all()


class _Raising:
    """Gradients of a module that fails for some record."""

    def at(self, vector) -> None:
        """Nothing to take."""

    def clipped_sum(self, units, clip, *, balanced=False):
        raise ValueError("a record that no module takes")


def _failing() -> RecordFederation:
    run = federation(steps=1)
    setting = replace(run._parties.silos[10]._setting, gradients=_Raising())
    run._parties.silos[10]._setting = setting
    return run


def test_r3_a_silo_whose_gradients_fail_sends_like_any_other():
    run = _failing()
    assert [result.silos for result in run.run()] == [4]
    assert list(run.troubles) == [10]


def test_r3_mutant_that_lets_a_failure_out_falls_silent(monkeypatch):
    mutant = without(
        monkeypatch,
        contained,
        "contained_sum",
        "    except Exception as error:  # noqa: BLE001 - a module",
        "    except KeyError as error:  # noqa: BLE001 - a module",
    )
    monkeypatch.setattr("fedavg.records.silo.contained_sum", mutant)
    with pytest.raises(ValueError, match="no module takes"):
        list(_failing().run())


# R4: one row more.


def test_r4_everything_public_is_the_same_with_one_row_more(monkeypatch):
    """Digest, derived numbers, divisor, slots, coins and messages, for 1 … 60 rows in one silo."""
    asked: list[int] = []
    honest = table.random_uniform
    monkeypatch.setattr(table, "random_uniform", lambda size: asked.append(size) or honest(size))
    found = []
    for size in (1, 2, 16, 17, 40, 60):
        asked.clear()
        given = silos() | {10: records(size, 0)}
        record = Transcript(frozenset({0}))
        run = RecordFederation(
            softmax(), given, plan(secure_sum=SECURE, steps=1), transcript=record
        )
        (result,) = run.run()
        lengths = [len(entry.message) for entry in record if entry.direction == "up"]
        numbers = (run.resolution.digest, run.resolution.ring_bits, run.resolution.most_units)
        found.append((numbers, tuple(asked), tuple(lengths), result.bytes_up))
    assert len(set(found)) == 1


def _batches(size: int) -> int:
    one = UnitTable(Silo(records(size, 0)), privacy(), CrossEntropy())
    return len(list(one.draw(64, 16)))


def _same_for_every_size() -> None:
    assert len({_batches(size) for size in (1, 16, 17, 40, 64, 65, 100)}) == 1


def test_r4_the_number_of_micro_batches_does_not_follow_the_rows():
    _same_for_every_size()


def test_r4_mutant_that_pads_to_its_own_rows_is_found(monkeypatch):
    own = "_slots(min(most, self._count), batch)"
    without(monkeypatch, UnitTable, "draw", "_slots(most, batch)", own)
    with pytest.raises(FOUND):
        _same_for_every_size()


# R7: attempts.


def _opened(run: RecordFederation, start: RoundStart, size: int) -> bytes:
    context = round_context(run.resolution.digest, start.round, size, start_digest(start))
    return encode(SumOpen(start.round, size, b"PLN1" + context, start.attempt))


def _two_sums_of_one_draw(run: RecordFederation) -> None:
    """A server that opens a second sum, among other silos, over the same draw."""
    party = run._parties.silos[10]
    start = RoundStart(0, np.zeros(LENGTH, "<f4").tobytes())
    party.handle(encode(start))
    assert party.handle(_opened(run, start, 5))
    with pytest.raises(LocalProtocolError, match="has no sum for this step"):
        party.handle(_opened(run, start, 4))


def test_r7_a_draw_enters_one_sum():
    _two_sums_of_one_draw(federation(silos(5)))


def test_r7_mutant_that_keeps_its_vector_sends_it_twice(monkeypatch):
    without(
        monkeypatch,
        SiloParty,
        "_open",
        "vector, self._vector = self._vector, None",
        "vector = self._vector",
    )
    with pytest.raises(FOUND):
        _two_sums_of_one_draw(federation(silos(5)))


def _each_attempt_is_charged() -> None:
    ledgers = {silo: Ledger(math.inf, 1e-5) for silo in silos(5)}
    run = federation(silos(5), ledgers=ledgers)
    party = run._parties.silos[10]
    for attempt in range(4):
        start = RoundStart(1, np.zeros(LENGTH, "<f4").tobytes(), attempt=attempt)
        party.handle(encode(start))
        party.handle(_opened(run, start, 5))
    event = run.resolution.account.budget_event()
    assert dict(ledgers[10].accountant.counts)[event] == 4


def test_r7_every_attempt_is_charged_by_the_silo_itself():
    """The server has no say about the earlier ones."""
    _each_attempt_is_charged()


def test_r7_mutant_that_charges_a_step_once_is_found(monkeypatch):
    without(monkeypatch, SiloParty, "_begin", "self._charged = False", "pass")
    with pytest.raises(FOUND):
        _each_attempt_is_charged()


def test_r7_attempts_draw_new_coins_and_new_noise():
    run = federation(silos(5))
    party = run._parties.silos[10]
    vectors = []
    for attempt in range(6):
        party.handle(encode(RoundStart(0, run.released.astype("<f4").tobytes(), attempt=attempt)))
        vectors.append(party._vector.tobytes())
    assert len(set(vectors)) == 6


def test_r7_a_replayed_step_is_refused_and_a_mutant_is_found(monkeypatch):
    start = encode(RoundStart(0, np.zeros(LENGTH, "<f4").tobytes()))

    def replayed() -> None:
        party = federation(silos(5))._parties.silos[10]
        party.handle(start)
        with pytest.raises(LocalProtocolError, match="before"):
            party.handle(start)

    replayed()
    without(monkeypatch, SiloParty, "_begin", "(start.round, start.attempt) <= self._last")
    with pytest.raises(FOUND):
        replayed()
