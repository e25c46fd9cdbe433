"""One file that all parties hold."""

from __future__ import annotations

import json

import pytest

from fedavg import Quantised
from fedavg.adapters.exchange import Agreement, NodeKeys, Record
from fedavg.errors import ConfigError, PlanError
from tests.fedavg.adapters.exchange.parties import NEAREST, Parties, changed, terms


@pytest.fixture(scope="module")
def parties():
    return Parties()


def test_it_comes_back_from_its_text(parties, tmp_path):
    parties.agreement.write(tmp_path / "a.json")
    back = Agreement.read(tmp_path / "a.json")
    assert back.terms == parties.agreed
    assert back.digest == parties.agreement.digest
    assert back.nodes == parties.agreement.nodes


@pytest.mark.parametrize(
    "changes",
    [
        {"max_weight": 99},
        {"min_cohort": 5},
        {"attempts": 2},
        {"max_rounds": 100},
        {"weight": "examples"},
        {"records": {"train": Record(NEAREST)}},
        {"records": {"train": Record(Quantised(1.0, 20))}},
        {"records": {"train": Record(NEAREST, beyond="clip")}},
        {"records": {"train": Record(NEAREST, ranges={"w": 2.0})}},
    ],
)
def test_every_term_is_in_the_digest(parties, changes):
    assert changed(parties.agreement, **changes).digest != parties.agreement.digest


def test_the_order_of_ranges_is_in_the_digest_and_that_of_maps_without_order_is_not(parties):
    """The first pattern that fits an array gives its range."""
    ranges, metrics = {"bn.*": 1000.0, "*": 1.0}, {"loss": 4.0, "acc": 1.0}

    def agreed(ranges, metrics):
        return changed(
            parties.agreement, records={"train": Record(NEAREST, ranges=ranges, metrics=metrics)}
        )

    turned = agreed(dict(reversed(ranges.items())), metrics)
    assert turned.terms.record("train").range_of("bn.count") == 1.0
    first = agreed(ranges, metrics)
    assert first.terms.record("train").range_of("bn.count") == 1000.0
    assert turned.digest != first.digest
    assert agreed(ranges, dict(reversed(metrics.items()))).digest == first.digest
    assert Agreement.from_bytes(turned.to_bytes()).digest == turned.digest


def test_people_are_in_the_digest(parties):
    cards = [keys.card for keys in parties.keys]
    more = Agreement.among(parties.agreed, [*cards, NodeKeys.generate(9).card])
    other = Agreement.among(parties.agreed, [*cards[:5], NodeKeys.generate(5).card])
    chosen = Agreement.among(
        parties.agreed, [*cards, NodeKeys.generate(9).card], members=(0, 1, 2, 3, 4, 9)
    )
    assert len({one.digest for one in (parties.agreement, more, other, chosen)}) == 4
    assert list(chosen.members) == [0, 1, 2, 3, 4, 9]


def _terms(parties) -> dict:
    return json.loads(parties.agreement.to_bytes())["terms"]


def _file(parties, **changes) -> bytes:
    return json.dumps({**json.loads(parties.agreement.to_bytes()), **changes}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[1]",
        lambda p: _file(p, format="another"),
        lambda p: _file(p, more=1),
        lambda p: _file(p, nodes={"0": "zz"}),
        lambda p: _file(p, nodes={}),
        lambda p: _file(p, committee={}),
        lambda p: _file(
            p, committee={**json.loads(p.agreement.to_bytes())["committee"], "77": "00"}
        ),
        lambda p: _file(p, terms={}),
        lambda p: p.agreement.to_bytes().replace(b'"one-shot"', b'"insecure-plain"'),
        lambda p: p.agreement.to_bytes().replace(b'"max_weight": 100', b'"max_weight": -1'),
        lambda p: p.agreement.to_bytes()[:-30],
        lambda p: _file(p, terms={**_terms(p), "records": []}),
        lambda p: _file(p, terms={**_terms(p), "records": "train"}),
        lambda p: _file(p, terms={**_terms(p), "records": {"train": []}}),
        b'{"format":' + b"[" * 100_000,
    ],
)
def test_no_agreement_is_refused_with_one_kind_of_error(parties, damage):
    data = damage(parties) if callable(damage) else damage
    with pytest.raises(ConfigError):
        Agreement.from_bytes(data)


@pytest.mark.parametrize(
    ("written", "slip", "what"),
    [
        ('"max_weight"', '"max_wieght"', "its terms have an unknown key 'max_wieght'. Do you mean"),
        ('"metrics"', '"metric"', "an unknown key 'metric'. Do you mean 'metrics'?"),
        ('"fixed-point"', '"fixedpoint"', "no encoding 'fixedpoint'; there are"),
        ('"one-shot"', '"oneshot"', "no secure sum 'oneshot'; there are"),
        ('"one-shot"', '"secagg"', "secure sum 'secagg': unknown key"),
        ('"bits"', '"bit"', "encoding 'fixed-point': .*Do you mean 'bits'"),
    ],
)
def test_a_slip_in_the_file_is_named_with_what_is_meant(parties, written, slip, what):
    text = parties.agreement.to_bytes().decode()
    assert written in text
    with pytest.raises(ConfigError, match=what):
        Agreement.from_bytes(text.replace(written, slip).encode())


def test_a_member_with_anothers_key_is_refused(parties):
    file = json.loads(parties.agreement.to_bytes())
    file["committee"]["0"] = file["committee"]["1"]
    with pytest.raises(ConfigError):
        Agreement.from_bytes(json.dumps(file).encode())


@pytest.mark.parametrize(
    ("nodes", "members", "what"),
    [
        (3, None, "6 members needs as many nodes, and there are 3 cards"),
        (6, (0, 1), "committee=6, and 2 members"),
        (6, (0, 1, 2, 3, 4, 8), "member 8 of the committee has no card"),
    ],
)
def test_a_committee_of_another_size(parties, nodes, members, what):
    cards = [keys.card for keys in parties.keys][:nodes]
    with pytest.raises(PlanError, match=what):
        Agreement.among(parties.agreed, cards, members=members)


def test_two_cards_of_one_id(parties):
    cards = [keys.card for keys in parties.keys]
    with pytest.raises(PlanError, match="two cards are of node 3"):
        Agreement.among(terms(), [*cards, NodeKeys.generate(3).card])
