"""The tables of where a run is computed, and of the user's own modules."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "PluginsConfig",
    "SimulationConfig",
]


class PluginsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modules of the user's own that register parts; they may lie beside the configuration.

    `folders` are others in which modules lie; a run writes down that of its configuration, so that it can be
    resumed from its own directory.

    Such a part is named where one of ours could be (`privacy.noise`, `secure_sum.kind`, `server.optimizer`,
    `cohort.kind`, `encoding.kind`), and its own fields are given in the table's `options`. A stage is a table
    of its own in `stages`, with its kind and its fields side by side.
    """

    modules: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


class SimulationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the clients run: worker processes (-1: one a core), and the share of simulated drop-outs.

    `engine` "local" runs them on this machine; 0 workers are this process. "ray" runs them on the actors of a
    Ray cluster, one a worker (-1: one a processor), and all nodes must share the run's directory. Drop-outs
    that are left out are 3 %, and none among fewer than ten clients without noise.
    """

    workers: int = -1
    dropout: float | None = None
    engine: Literal["local", "ray"] = "local"

    @property
    def elsewhere(self) -> bool:
        """Whether the clients run on a cluster."""
        return self.engine != "local"
