"""A secure mean for other engines: what their nodes and servers exchange, as bytes, without an engine.

A *node* is a party with data, and a *round* is one weighted mean over the records of nodes. Before a run all
parties hold one `Agreement`: which records are summed, in which ranges, by which secure sum, and who the
nodes are. A node (`Node`) acts on its own copy alone. In a round each node sends one message. Then members
of a committee, who are nodes, answer three times (`OneShot`), or the nodes themselves five times (`SecAgg`),
and the server (`MeanServer`) has the mean and nothing else. Engines may start a process for each message:
between two messages nodes keep the facts in a journal, and in a masked sum one sealed state (`StateFile`).
With noise for differential privacy (`Record.noise`), each node clips, adds its share of the noise, and
charges a ledger of its own before it answers.
"""

from __future__ import annotations

from fedavg.adapters.exchange.agreement import AGREEMENT_FILE, Agreement
from fedavg.adapters.exchange.cards import MemberCards
from fedavg.adapters.exchange.errors import RefusedRequestError
from fedavg.adapters.exchange.keys.keys import Card, NodeKeys
from fedavg.adapters.exchange.messages import Stage
from fedavg.adapters.exchange.nodes.contribution import Contribution
from fedavg.adapters.exchange.nodes.enrolment import enrol_here, make_node, read_card
from fedavg.adapters.exchange.nodes.node import Node
from fedavg.adapters.exchange.nodes.states import StateFile
from fedavg.adapters.exchange.server import MeanServer
from fedavg.adapters.exchange.terms import Record, Terms
from fedavg.adapters.exchange.vectors.places import Mean

__all__ = [
    "AGREEMENT_FILE",
    "Agreement",
    "Card",
    "Contribution",
    "Mean",
    "MeanServer",
    "MemberCards",
    "Node",
    "NodeKeys",
    "Record",
    "RefusedRequestError",
    "Stage",
    "StateFile",
    "Terms",
    "enrol_here",
    "make_node",
    "read_card",
]
