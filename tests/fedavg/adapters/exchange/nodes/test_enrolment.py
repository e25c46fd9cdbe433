"""Enrolment by functions and from the command line."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from typer.testing import CliRunner

from dp import SharedLedger
from fedavg import CentralGaussian, DistributedGaussian, Quantised, SecAgg
from fedavg.adapters.exchange import Agreement, Node, NodeKeys, enrol_here, make_node, read_card
from fedavg.adapters.exchange.__main__ import app
from fedavg.errors import ConfigError
from fedavg.sums.interface import SumSpec
from tests.fedavg.adapters.exchange.parties import changed, noisy, terms


def test_nodes_that_enrol_one_by_one_form_an_agreement(tmp_path):
    cards = [make_node(tmp_path / str(node), node) for node in range(6)]
    assert read_card(tmp_path / "3" / "node.card") == cards[3]
    Agreement.among(terms(), cards).write(tmp_path / "2" / "agreement.json")
    assert Node.open(tmp_path / "2").keys.node == 2


def test_a_folder_is_enrolled_once(tmp_path):
    enrol_here(tmp_path, 6, terms())
    with pytest.raises(ConfigError, match="exists"):
        enrol_here(tmp_path, 6, terms())


def test_too_few_nodes(tmp_path):
    with pytest.raises(ConfigError, match="nodes must be at least"):
        enrol_here(tmp_path, 2, terms())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"hello"])
def test_no_card(tmp_path, data):
    if data is not None:
        (tmp_path / "card").write_bytes(data)
    with pytest.raises(ConfigError, match="card"):
        read_card(tmp_path / "card")


def _run(*given: object):
    return CliRunner().invoke(app, [str(one) for one in given])


def test_the_command_line_enrols(tmp_path):
    for node in range(4):
        found = _run("keys", tmp_path / str(node), "--node", node)
        assert found.exit_code == 0, found.output
    cards = [tmp_path / str(node) / "node.card" for node in range(4)]
    given = ("--range", 1, "--max-weight", 500, "--members", 4, "--evaluate", "acc=1")
    out = tmp_path / "agreement.json"
    found = _run("agree", *cards, *given, "--train", "loss=10", "--out", out)
    assert found.exit_code == 0, found.output
    agreement = Agreement.read(out)
    assert agreement.terms.record("train").metrics == {"loss": 10.0}
    assert agreement.terms.record("evaluate").arrays == ()
    shown = _run("show", out).output
    assert agreement.digest.hex()[:32] in shown
    assert "4 nodes" in shown
    assert "max_weight: 500" in shown


def test_the_command_line_agrees_on_a_masked_sum(tmp_path):
    cards = [make_node(tmp_path / str(node), node) for node in range(4)]
    files = [tmp_path / str(card.node) / "node.card" for card in cards]
    out = tmp_path / "agreement.json"
    given = ("--sum", "secagg", "--dropout-rate", 0.25, "--corrupt-rate", 0.2)
    found = _run("agree", *files, *given, "--range", 1, "--max-weight", 500, "--out", out)
    assert found.exit_code == 0, found.output
    agreement = Agreement.read(out)
    assert agreement.terms.sum == SecAgg(0.25, 0.2)
    assert not agreement.members
    shown = _run("show", out).output
    assert "sum: SecAgg(dropout_rate=0.25, corrupt_rate=0.2, threat_model='malicious')" in shown
    spec = SumSpec(5000, 1000, None, 10, b"any sum")
    for assumption in (
        *agreement.terms.sum.assumptions(spec),
        "Until a node has masked its record",
    ):
        assert f"- {assumption}" in shown


def test_everything_that_the_digest_covers_is_shown(tmp_path):
    """Operators compare what they read; a term that is not printed could differ unseen."""
    keys = [NodeKeys.generate(node) for node in range(7)]
    plain = Agreement.among(terms(), [one.card for one in keys])
    train = plain.terms.record("train")
    others = [
        changed(plain, **{name: value})
        for name, value in {
            "max_weight": 99,
            "min_cohort": 5,
            "attempts": 2,
            "max_rounds": 77,
            "delta": 1e-6,
            "weight": "examples",
            "sum": msgspec.structs.replace(plain.terms.sum, dropout_rate=0.1),
        }.items()
    ]
    cards = [one.card for one in keys]
    masked = (SecAgg(), SecAgg(0.2), SecAgg(0.1, 0.2), SecAgg(threat_model="semi-honest"))
    others += [Agreement.among(terms(sum=chosen), cards) for chosen in masked]
    others += [
        changed(plain, records={"train": replace(train, **change)})
        for change in (
            {},
            {"relative": False},
            {"beyond": "clip"},
            {"arrays": ("w",)},
            {"ranges": {"steps": 100.0 + 1e-9}},
            {"ranges": {"steps": 100.0, "*": 1.0}},
            {"ranges": {"*": 1.0, "steps": 100.0}},
            {"metrics": {"loss": 5.0}},
            {"encoding": Quantised(1.0, 20)},
        )
    ]
    others += [
        changed(plain, records={"train": one})
        for one in (
            noisy(),
            noisy(clip=2.0),
            noisy(DistributedGaussian(1.0)),
            noisy(CentralGaussian(2.0)),
        )
    ]
    strangers = [*keys[:6], NodeKeys.generate(6)]
    others.append(Agreement.among(terms(), [one.card for one in strangers]))
    others.append(Agreement.among(terms(), [one.card for one in keys], members=range(1, 7)))
    shown = set()
    for one in (plain, *others):
        one.write(tmp_path / "a.json")
        found = _run("show", tmp_path / "a.json")
        assert found.exit_code == 0
        shown.add(found.output.partition("\n")[2])  # without the line of the digest
    assert len(shown) == 1 + len(others)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (("--members", 4, "--train", "loss"), "NAME=RANGE"),
        (("--members", 9), "committee"),
        (("--members", 4, "--corrupt", 1), "lower one of them"),
        (("--members", 4, "--bits", 3), "bits"),
        (("--members", 4, "--clip", 1), "--clip belongs to --noise-multiplier"),
        (("--members", 4, "--noise", "skellam"), "there is none without --noise-multiplier"),
        (("--members", 4, "--delta", 1e-6), "there is none without --noise-multiplier"),
        (("--members", 5), "a committee of 5 members needs as many nodes, and there are 4 cards"),
        (("--members", 4, "--train", "a=1", "--train", "a=2"), "'a' has two ranges"),
        (("--members", 4, "--array-range", "a=1", "--array-range", "a=2"), "'a' has two ranges"),
        (("--members", 4, "--array-range", "a"), "an array's range is given as NAME=RANGE"),
        (("--members", 4, "--array-range", "a=-1"), "ranges['a'] must be positive"),
        (("--members", 4, "--out", "/nowhere/a.json"), "there is no folder /nowhere"),
        (("--members", 4, "--noise-multiplier", 2), "noise needs --clip"),
        (("--members", 4, "--attempts", 0), "attempts must be at least 1"),
        ((), "needs --members"),
        (("--sum", "secagg", "--members", 4), "are about a committee"),
        (("--sum", "secagg", "--absent", 1), "are about a committee"),
        (("--sum", "secagg", "--corrupt", 0), "are about a committee"),
        (("--sum", "secagg", "--dropout-rate", 0.6), "lower a rate"),
    ],
)
def test_errors_are_one_line(tmp_path, given, what):
    for node in range(4):
        make_node(tmp_path / str(node), node)
    cards = [tmp_path / str(node) / "node.card" for node in range(4)]
    found = _run("agree", *cards, "--range", 1, "--max-weight", 500, *given)
    assert found.exit_code == 1
    assert found.output.startswith("error: ")
    assert what in found.output


@pytest.fixture
def cards(tmp_path):
    for node in range(4):
        make_node(tmp_path / str(node), node)
    return [tmp_path / str(node) / "node.card" for node in range(4)]


PLAIN = ("--range", 1, "--max-weight", 500, "--sum", "secagg")


def test_counters_have_ranges_of_their_own(tmp_path, cards):
    out = tmp_path / "agreement.json"
    given = ("--array-range", "*.num_batches_tracked=1000", "--array-range", "bn.*=50")
    chosen = ("--arrays", "bn.*", "--arrays", "head", "--evaluate", "acc=1", "--out", out)
    assert _run("agree", *cards, *PLAIN, *given, *chosen).exit_code == 0
    train, evaluate = (Agreement.read(out).terms.record(kind) for kind in ("train", "evaluate"))
    assert train.range_of("bn.num_batches_tracked") == 1000.0
    assert (train.range_of("bn.mean"), train.range_of("head")) == (50.0, 1.0)
    assert (train.arrays, evaluate.arrays, evaluate.ranges) == (("bn.*", "head"), (), {})


def test_an_agreement_that_is_there_is_not_overwritten_by_another(tmp_path, cards):
    out = tmp_path / "agreement.json"
    assert _run("agree", *cards, *PLAIN, "--out", out).exit_code == 0
    held = out.read_bytes()
    assert _run("agree", *cards, *PLAIN, "--out", out).exit_code == 0
    found = _run("agree", *cards, *PLAIN, "--attempts", 9, "--out", out)
    assert "holds another agreement" in found.output
    assert out.read_bytes() == held
    out.write_bytes(b"notes")
    assert "this is no agreement" in _run("agree", *cards, *PLAIN, "--out", out).output
    assert out.read_bytes() == b"notes"


def _altered(text: str) -> str:
    """Another identity in a card whose signature stays."""
    return text[:20] + ("0" if text[20] != "0" else "1") + text[21:]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_altered, "was damaged or altered on its way"),
        (lambda text: text[:-4], "was damaged or altered on its way"),
        (lambda _: "hello", "this is no card"),
        (lambda _: "\u00e9", "this is no card"),
    ],
)
def test_a_damaged_card_is_named(damage, what, cards):
    """Also where no committee needs its sealing key."""
    cards[2].write_text(damage(cards[2].read_text().strip()) + "\n", encoding="utf-8")
    found = _run("agree", *cards, *PLAIN)
    assert found.output.startswith(f"error: {cards[2]}: ")
    assert what in found.output
    cards[2].unlink()
    assert f"cannot read the card {cards[2]}: No such file" in _run("agree", *cards, *PLAIN).output


def test_noise_is_agreed_on_and_priced(tmp_path):
    for node in range(6):
        make_node(tmp_path / str(node), node)
    cards = [tmp_path / str(node) / "node.card" for node in range(6)]
    out = tmp_path / "agreement.json"
    given = ("--max-weight", 1, "--members", 6, "--corrupt", 1, "--out", out, "--max-rounds", 50)
    noise = ("--noise-multiplier", 2, "--clip", 0.5, "--bits", 13, "--attempts", 9, "--delta", 1e-6)
    few = ("--min-cohort", 5)
    assert _run("agree", *cards, *given, *noise, *few, "--train", "loss=40").exit_code == 0
    terms = Agreement.read(out).terms
    assert terms.record("train").noise == DistributedGaussian(2.0)
    assert (terms.attempts, terms.max_rounds, terms.delta) == (9, 50, 1e-6)
    assert terms.min_cohort == 5
    shown = _run("show", out, "--parameters", 1000).output
    assert "train, 100 answers of a node: epsilon" in shown
    assert "towards the server, at delta 1e-06" in shown
    other = _run("agree", *cards, *given, *noise, "--noise", "laplace")
    assert other.exit_code == 1
    assert "there is no noise 'laplace'; there are gaussian" in other.output


def test_budgets_of_a_simulation(tmp_path):
    private = terms(records={"train": noisy()})
    with pytest.raises(ConfigError, match="need the privacy budget"):
        enrol_here(tmp_path, 6, private)
    with pytest.raises(ConfigError, match="no record of these terms has any"):
        enrol_here(tmp_path, 6, terms(), epsilon=1.0)
    enrol_here(tmp_path, 6, private, epsilon=3.0)
    assert [
        SharedLedger(tmp_path / str(node) / "ledger.json").read().epsilon for node in (0, 5)
    ] == [3, 3]
