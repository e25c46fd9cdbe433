"""What `Params` promises about drop-outs and small cohorts, by looking at every case up to 60 clients.

Rates matter through three whole numbers: ⌊δn⌋ and ⌈δn⌉ silent clients, and ⌈γn⌉ colluders. So s/n and
(s + ½)/n for every s are all drop-out rates there are for n clients, and c/n all corrupt rates.
"""

from __future__ import annotations

import functools
import itertools
from math import comb

import numpy as np
import pytest

from secagg import Params, Phase, UnsafeParametersError, requirements, simulate
from secagg.params.derivation import LOCAL, MODELS, _derive, _some_degree
from tests.secagg.support.second import params as second

GLOBAL = ("malicious", "semi-honest")
PHASES = (
    Phase.ADVERTISE_KEYS,
    Phase.SHARE_KEYS,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
)


def dropout_rates(n):
    return [half / (2 * n) for half in range(2 * n)]


def corrupt_rates(n, step=1):
    return [c / n for c in range(0, n, step)]


@functools.cache
def found(n, drop, corrupt, model):
    """What `requirements` returns, or None where it raises, without its search for a remedy."""
    return _derive(n, drop, corrupt, model)


def silent_neighbours_are_rare(n, silent, most, degree):
    """n·Pr[Z > most] ≤ 2^−30 in whole numbers, Z of the `silent` among n − 1 being among `degree` drawn."""
    ways = sum(
        comb(silent, z) * comb(n - 1 - silent, degree - z)
        for z in range(most + 1, min(silent, degree) + 1)
        if degree - z <= n - 1 - silent
    )
    return n * ways * 2**30 <= comb(n - 1, degree)


def bears(n, drop, corrupt, model, it):
    """Whether ⌊δn⌋ clients may fall silent at any time, by what each party counts and refuses."""
    left = n - second.down(drop, n)
    if left < max(it.min_roster, it.min_survivors):
        return False
    if it.degree == n - 1:
        return left >= max(it.quorum, it.threshold)
    # a secret needs t holders beside its owner, who may be silent; a local quorum is of neighbours
    needed = max(it.threshold, it.quorum) if model == LOCAL else it.threshold
    enough = silent_neighbours_are_rare(n, second.down(drop, n), it.degree - needed, it.degree)
    return enough and (model == LOCAL or left >= it.quorum)


def keeps_its_word(n, drop, corrupt, model, it):
    """Two honest inputs in every sum, no secret for colluders alone, no two sets with a quorum each."""
    c = second.up(corrupt, n)
    honest = it.min_survivors if model == LOCAL else it.min_survivors - c
    complete = it.degree == n - 1
    return (
        honest >= 2
        and it.min_survivors >= 3
        and (not complete or it.threshold > c)
        and (model != "malicious" or 2 * it.quorum > n + c)
        and (model != "malicious" or not complete or 2 * it.threshold > n + c)
    )


def possible(n, drop, corrupt, model):
    """Whether any parameters at all meet the conditions of docs/protocol.md."""
    c, silent = second.up(corrupt, n), second.up(drop, n)
    if model == LOCAL:
        degrees = range(4, n - silent - 1, 2)
        return any(second.sparse(n, c, silent, n - silent, k, second.LOCAL) for k in degrees)
    # t and q of the complete graph: most for secrecy, least for drop-outs; each sum has two honest inputs
    quorum = (n + c) // 2 + 1 if model == "malicious" else n // 2 + 1
    return max(3, n - silent, quorum, c + 2) <= n - second.down(drop, n)


@pytest.mark.parametrize("model", GLOBAL)
@pytest.mark.parametrize("n", range(3, 61))
def test_every_promise_of_every_small_cohort(n, model):
    """All rates up to 16 clients; beyond, all drop-out rates with every seventh corrupt rate."""
    for drop in dropout_rates(n):
        for corrupt in corrupt_rates(n, 1 if n <= 16 else 7):
            it = found(n, drop, corrupt, model)
            if it is not None:
                assert bears(n, drop, corrupt, model, it), (drop, corrupt)
                assert keeps_its_word(n, drop, corrupt, model, it), (drop, corrupt)


@pytest.mark.parametrize("model", GLOBAL)
@pytest.mark.parametrize("n", range(3, 25))
def test_no_small_cohort_is_refused_that_could_be_safe(n, model):
    for drop in dropout_rates(n):
        for corrupt in corrupt_rates(n, 1 if n <= 16 else 7):
            it = found(n, drop, corrupt, model)
            assert (it is not None) == possible(n, drop, corrupt, model), (drop, corrupt)


@pytest.mark.parametrize("n", range(3, 61))
def test_quorums_of_neighbours_keep_the_same_promises(n):
    """Few colluders and few drop-outs: beyond, no cohort of sixty has any."""
    for silent in range(8):
        for corrupt in (0.0, 1 / n, 2 / n):
            drop = silent / (2 * n)
            it = found(n, drop, corrupt, LOCAL)
            assert (it is not None) == possible(n, drop, corrupt, LOCAL), (drop, corrupt)
            if it is not None:
                assert bears(n, drop, corrupt, LOCAL, it), (drop, corrupt)
                assert keeps_its_word(n, drop, corrupt, LOCAL, it), (drop, corrupt)


def cases():
    """Small cohorts with every number of silent clients and of colluders that they can have."""
    for model in GLOBAL:
        for n in range(3, 8):
            for drop in dropout_rates(n)[2:]:
                for corrupt in corrupt_rates(n):
                    if second.down(drop, n) and found(n, drop, corrupt, model) is not None:
                        yield n, drop, corrupt, model


@pytest.mark.parametrize("phase", PHASES)
def test_as_many_as_promised_fall_silent_and_there_is_a_sum(phase):
    late = phase in (Phase.CONSISTENCY, Phase.UNMASK)
    for n, drop, corrupt, model in cases():
        rates = {"dropout_rate": drop, "corrupt_rate": corrupt, "threat_model": model}
        params = Params.for_cohort(n, 1, max_abs=9, **rates)
        silent = set(range(second.down(drop, n)))
        result = simulate({i: np.array([i]) for i in range(n)}, params, drop={phase: silent})
        assert result.survivors == tuple(i for i in range(n) if late or i not in silent)
        assert result.total.tolist() == [sum(result.survivors)]


def test_one_more_than_promised_is_too_many_for_some():
    """The promise is not slack everywhere: at a rate that divides n evenly one more ends the session."""
    params = Params.for_cohort(8, 1, max_abs=9, dropout_rate=0.25, corrupt_rate=0.0)
    inputs = {i: np.array([i]) for i in range(8)}
    assert simulate(inputs, params, drop={Phase.MASKED_INPUT: {0, 1}}).total.tolist() == [27]
    with pytest.raises(Exception, match="5 of the 6"):
        simulate(inputs, params, drop={Phase.MASKED_INPUT: {0, 1, 2}})


# The smallest cohort ---------------------------------------------------------------------------------

RATES = [
    (0.0, 0.0),
    (0.1, 0.0),
    (0.1, 0.1),
    (0.3, 0.1),
    (0.45, 0.0),
    (0.2, 0.45),
    (0.45, 0.45),
    (0.3, 0.3),
]


@pytest.mark.parametrize("model", GLOBAL)
@pytest.mark.parametrize(("drop", "corrupt"), RATES)
def test_the_smallest_cohort_is_that_of_a_search_through_all(drop, corrupt, model):
    last = 2_000 if model == "malicious" else 10_000
    all_down = itertools.takewhile(lambda n: possible(n, drop, corrupt, model), range(last, 2, -1))
    safe = list(all_down)
    rates = {"dropout_rate": drop, "corrupt_rate": corrupt, "threat_model": model}
    if not safe:
        with pytest.raises(UnsafeParametersError, match=f"up to {last} is large enough"):
            Params.smallest_cohort(**rates)
    else:
        assert Params.smallest_cohort(**rates) == safe[-1]


@pytest.mark.parametrize(("drop", "corrupt"), [(0.1, 0.0), (0.05, 0.05), (0.1, 0.1), (0.0, 0.2)])
def test_with_quorums_of_neighbours_too(drop, corrupt):
    """One below has no parameters, and from there on every cohort has, though some below have as well."""
    smallest = Params.smallest_cohort(dropout_rate=drop, corrupt_rate=corrupt, threat_model=LOCAL)
    assert smallest == 3 or found(smallest - 1, drop, corrupt, LOCAL) is None
    later = [*range(smallest, smallest + 120), 311, 1000, 2001, 4999, 9998, 9999, 10_000]
    assert all(found(n, drop, corrupt, LOCAL) for n in later if n >= smallest)


def test_nine_can_eleven_cannot_and_twelve_is_the_smallest_from_which_on_all_can():
    can = [n for n in range(3, 60) if found(n, 0.1, 0.0, LOCAL)]
    assert can[:2] == [9, 10]
    assert can[2:] == list(range(12, 60))
    with pytest.raises(UnsafeParametersError, match="every cohort of 12 to 10000 can"):
        requirements(11, 0.1, 0.0, LOCAL)


@pytest.mark.parametrize(("drop", "corrupt"), [(0.1, 0.1), (0.2, 0.2), (0.3, 0.1)])
def test_a_degree_for_few_with_as_many_silent_and_corrupt_is_one_for_more(drop, corrupt):
    """What the search skips by: among cohorts whose rates round alike, more clients only help."""
    for n in [*range(20, 260, 7), 1500, 5000]:
        k = _some_degree(n, drop, corrupt, 0)
        more = n
        while k and all(second.up(r, more + 1) == second.up(r, n) for r in (drop, corrupt)):
            more += 1
            if k % 2 == 0 and k <= 512:
                assert _some_degree(more, drop, corrupt, k) == k


def test_no_rates_let_two_models_disagree_about_what_they_are():
    for model in MODELS:
        with pytest.raises(UnsafeParametersError):
            Params.smallest_cohort(dropout_rate=0.6, corrupt_rate=0.1, threat_model=model)
