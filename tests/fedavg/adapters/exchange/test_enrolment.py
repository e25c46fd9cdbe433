"""Enrolment by functions and from the command line."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fedavg.adapters.exchange import Agreement, Node, enrol_here, make_node, read_card
from fedavg.adapters.exchange.__main__ import app
from fedavg.errors import ConfigError
from tests.fedavg.adapters.exchange.parties import terms


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
    assert "at most 500" in shown


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (("--members", 4, "--train", "loss"), "NAME=RANGE"),
        (("--members", 9), "committee"),
        (("--members", 4, "--corrupt", 1), "lower one of them"),
        (("--members", 4, "--bits", 3), "bits"),
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
