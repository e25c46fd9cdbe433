"""Enrolment: every role of a simulation receives its material of the secure sum, once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedavg.server.roles import opening_roles

if TYPE_CHECKING:
    from pathlib import Path

    from fedavg.federation.checkpoint import Journal
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.simulation.interface import Simulation
    from fedavg.sums.interface import Provision

__all__ = ["provision_all"]


def provision_all(
    resolution: ResolvedPlan,
    transport: Simulation,
    seed: int,
    store: Path | None,
    journal: Journal | None,
) -> Provision:
    """Distribute keys and directories; afterwards the roles exchange bytes only.

    Args:
        resolution: the resolved plan.
        transport: transport to the clients.
        seed: public seed of the order of local examples.
        store: folder for the state that clients keep between rounds, or None for memory.
        journal: record of the openings of key holder and openers; None for none.
    """
    sums = resolution.plan.secure_sum
    # Keys are made once, for the largest sum of the run, and serve smaller rosters too.
    sizes = resolution.spec(resolution.bounds.cap, resolution.digest)
    largest = replace(sizes, round=resolution.num_rounds - 1)
    provision = sums.provision(largest, transport.publics())
    # Clients get the resolved plan here and never from the server, so a server cannot change it later.
    transport.equip(resolution, provision.clients, seed, store)
    # Without a party that opens sums, the journal's second file is neither made nor needed.
    opens = provision.key_holder is not None or bool(provision.openers)
    opened = journal.opened if journal is not None and opens else None
    for address, party in opening_roles(resolution, sums, provision, opened).items():
        transport.add_party(address, party)
    return provision
