"""The picture of a partition: its counts, its page, and the command that writes it."""

import numpy as np
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.data.partition import dirichlet
from fedavg.reports.partition import holdings


def test_holdings_count_every_example_once():
    labels = np.arange(90) % 4
    pieces = dirichlet(labels, 7, alpha=0.3, seed=0)
    counts = holdings(labels, pieces, 5)
    assert counts.shape == (5, 7)
    assert counts.sum(1).tolist() == [*np.bincount(labels).tolist(), 0]
    for client, piece in enumerate(pieces):
        assert counts[:, client].tolist() == np.bincount(labels[piece], minlength=5).tolist()


def test_data_show_writes_a_page_that_needs_no_network(tmp_path):
    page = tmp_path / "p.html"
    options = ["--partition", "dirichlet", "--clients", "12", "--out", str(page)]
    result = CliRunner().invoke(app, ["data", "show", "digits", *options])
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "12 clients" in text
    assert '<script src="http' not in text


def test_data_show_refuses_in_words(tmp_path):
    page = tmp_path / "p.html"
    for options in (
        ["digit"],
        ["digits", "--partition", "dirichlett"],
        ["digits", "--clients", "0"],
    ):
        result = CliRunner().invoke(app, ["data", "show", *options, "--out", str(page)])
        assert result.exit_code == 2
        assert "Error:" in result.output
        assert not page.exists()
