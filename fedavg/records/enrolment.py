"""Enrolment of silos, and the transport that carries bytes to them in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dp.checks import is_a
from fedavg import checks
from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError
from fedavg.protocol.driver import PROTOCOL_ERRORS, Delivery
from fedavg.records.clipped.layers import fastest_gradients
from fedavg.records.clipped.modules import check_independent
from fedavg.records.prepared import blank, prepared
from fedavg.records.silo import SiloParty, SiloSetting
from fedavg.records.table import Silo, UnitTable
from fedavg.server.roles import opening_roles
from fedavg.training.job import chosen_loss
from secagg import Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from dp import Ledger, SharedLedger
    from fedavg.models.layout import Layout
    from fedavg.records.clipped.gradients import Gradients
    from fedavg.records.resolution import ResolvedRecords
    from fedavg.server.roles import Role
    from fedavg.server.round import RoundServer
    from fedavg.sums.interface import ServerSide

__all__ = ["Parties", "enrol_silos", "silos_of"]


def silos_of(
    given: Mapping[int, Silo | Dataset] | Sequence[Silo | Dataset],
) -> dict[int, Silo]:
    """Silos by id, whichever way they were given.

    Raises:
        DataError: there are none, an id is no whole number, a silo is neither records nor a `Silo`, or two
            silos hold the same object of records.
    """
    if is_a(given, Dataset | Silo):
        raise DataError("a federation needs several silos: give a list of them, or a mapping by id")
    items = given.items() if isinstance(given, Mapping) else enumerate(given)
    found: dict[int, Silo] = {}
    holders: dict[int, int] = {}
    for key, value in items:
        silo = Silo(value) if isinstance(value, Dataset) else value
        if not is_a(silo, Silo):
            raise DataError(
                f"a silo is a fedavg.Silo or a fedavg.Dataset, not {type(value).__name__}"
            )
        number = checks.data.whole("the id of a silo", key, 0)
        first = holders.setdefault(id(silo.records), number)
        # A person of two silos loses more than the printed epsilon, and here every person would be one.
        if first != number:
            raise DataError(
                f"silos {first} and {number} hold the same object of records: give each silo its own rows"
            )
        found[number] = silo
    if not found:
        raise DataError("a federation needs silos, and there are none")
    return found


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parties:
    """The parties of one run, as the server reaches them.

    Args:
        silos: the silos, by id.
        side: the server's material of the secure sum.
        others: parties that open sums, by address: a key holder, or the members of a committee.
    """

    silos: Mapping[int, SiloParty]
    side: ServerSide
    others: Mapping[int, Role]

    @property
    def exhausted(self) -> bool:
        """Whether a silo's ledger has refused an attempt."""
        return any(party.exhausted for party in self.silos.values())

    def at(self, silent: Callable[[str], frozenset[int]], server: RoundServer) -> _Transport:
        """The transport of one attempt, in which some silos do not answer."""
        return _Transport(self, silent, server)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Transport:
    parties: Parties
    silent: Callable[[str], frozenset[int]]
    server: RoundServer

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver to one party after the other."""
        silent = self.silent(self.server.stage)
        for address, messages in outgoing.items():
            if address in silent:
                continue
            party = self.parties.others.get(address) or self.parties.silos[address]
            replies: list[bytes] = []
            try:
                for message in messages:
                    replies.extend(party.handle(message))
            except PROTOCOL_ERRORS as error:
                yield Delivery(address, (), f"{type(error).__name__}: {error}")
            else:
                yield Delivery(address, tuple(replies))


def enrol_silos(
    resolution: ResolvedRecords,
    model: nn.Module,
    layout: Layout,
    silos: Mapping[int, Silo],
    ledgers: Callable[[], Mapping[int, Ledger | SharedLedger]],
    stand_in: Callable[[int, Gradients], Gradients] | None = None,
) -> Parties:
    """Check every silo's table, and hand out identities and keys.

    Args:
        resolution: the resolved plan.
        model: the module that the silos of this process take turns to use.
        layout: layout of its trained parameters.
        silos: the silos by id.
        ledgers: called once, after all checks, for each silo's budget.
        stand_in: for audits: given a silo's id and its gradients, what stands in for them.

    Raises:
        DataError, PlanError: a table does not fit the plan, the model or the loss.
        ConfigError: the ledgers do not name the silos.
    """
    plan = resolution.plan
    any_silo = next(iter(silos.values())).records
    loss = chosen_loss(plan.loss, any_silo.kind)
    sample = blank(any_silo, plan.features)
    outputs = check_independent(model, loss, sample)
    for silo_id, silo in silos.items():
        _check_alike(silo_id, silo, any_silo)
        loss.check(silo.records.labels, outputs)
    portions = plan.privacy.portions(layout)
    gradients = fastest_gradients(model, layout, loss, sample, portions)
    # Before any message leaves: the time of fixed features depends on the number of a silo's rows.
    tables = {
        silo_id: UnitTable(prepared(silo, plan.features), plan.privacy, loss)
        for silo_id, silo in silos.items()
    }
    identities = {silo: Identity.generate() for silo in silos}
    known = {silo: identity.public for silo, identity in identities.items()}
    # Keys are made once, for the largest sum, and serve smaller rosters too.
    sizes = resolution.spec(resolution.summed, resolution.digest)
    spec = replace(sizes, round=plan.steps - 1)
    provision = plan.secure_sum.provision(spec, known)
    side = plan.secure_sum.client_side(provision.clients)
    setting = SiloSetting(resolution, side, gradients, layout, tuple(sorted(silos)))
    budgets = ledgers()
    if set(budgets) != set(silos):
        raise ConfigError("ledgers must name every silo, and no other")
    settings = dict.fromkeys(silos, setting)
    if stand_in is not None:
        settings = {silo: replace(setting, gradients=stand_in(silo, gradients)) for silo in silos}
    parties = {
        silo: SiloParty(
            silo,
            tables[silo],
            identities[silo],
            settings[silo],
            budgets[silo],
            label=plan.privacy.label,
        )
        for silo in silos
    }
    others = opening_roles(resolution, plan.secure_sum, provision)
    return Parties(parties, plan.secure_sum.server_side(provision.server), others)


def _check_alike(silo_id: int, silo: Silo, first: Dataset) -> None:
    """Refuse a silo whose arrays have another shape or kind: shapes are public, and common to all."""
    own = silo.records
    same = own.features.shape[1:] == first.features.shape[1:]
    if (
        not same
        or own.kind.name != first.kind.name
        or own.labels.shape[1:] != first.labels.shape[1:]
    ):
        raise DataError(
            f"silo {silo_id} has records of another shape or kind than the others: all silos prepare their "
            "tables by one public schema"
        )
