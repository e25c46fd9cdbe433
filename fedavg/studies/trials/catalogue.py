"""The forms of configurations that a study may compare, and their values as tagged structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from dp import DpError
from fedavg.errors import ConfigError, FedAvgError
from fedavg.parts.nearest import nearest
from fedavg.studies.trials.clients import (
    CLIENTS,
    ClientsDerived,
    ClientsForm,
    ClientsMeasured,
    ClientsTrial,
)
from fedavg.studies.trials.records import (
    RECORDS,
    RecordsDerived,
    RecordsForm,
    RecordsMeasured,
    RecordsTrial,
)
from fedavg.studies.trials.settings import required
from he import HeError
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FORMS", "REFUSALS", "AnyDerived", "AnyForm", "AnyMeasured", "AnyTrial", "form_of"]

AnyForm: TypeAlias = ClientsForm | RecordsForm
AnyTrial: TypeAlias = ClientsTrial | RecordsTrial
AnyDerived: TypeAlias = ClientsDerived | RecordsDerived
AnyMeasured: TypeAlias = ClientsMeasured | RecordsMeasured

REFUSALS = (FedAvgError, SecAggError, HeError, DpError)
"""The packages' own errors, by which a trial is refused."""

FORMS: tuple[AnyForm, ...] = (RECORDS, CLIENTS)
"""The forms, those with required tables first; the last one requires none."""


def form_of(keys: Iterable[str]) -> AnyForm:
    """The form of a configuration with some settings: the first one whose required tables are there.

    Args:
        keys: dotted keys, or names of tables.

    Raises:
        ConfigError: a table is unknown, and has nearly the name of one that decides the form.

    Example:
        >>> form_of(["records.epsilon", "steps"]) is RECORDS, form_of(["rounds"]) is CLIENTS
        (True, True)
    """
    tables = {key.partition(".")[0] for key in keys}
    found = next(form for form in FORMS if required(form.root) <= tables)
    # Otherwise every key of the meant form would be unknown, and another one would be named.
    deciding = {name for form in FORMS for name in required(form.root)} - tables
    for table in sorted(tables - set(found.root.__struct_fields__)):
        meant = nearest(table, deciding)
        if meant:
            raise ConfigError(f"unknown key {table!r}. Do you mean {meant[0]!r}?")
    return found
