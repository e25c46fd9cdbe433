"""The settings of a run configuration: one struct of all its tables.

The defaults are the built-in example.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fedavg import checks
from fedavg.algorithms.random_k import TOP_K_REFUSED
from fedavg.config.tables.learning import (
    BlocksConfig,
    EvaluationConfig,
    LocalConfig,
    ModelConfig,
    PersonalizationConfig,
    ServerConfig,
    TrainingConfig,
)
from fedavg.config.tables.protection import (
    BroadcastConfig,
    ClippingConfig,
    CohortConfig,
    CompressionConfig,
    EncodingConfig,
    PrivacyConfig,
    SumConfig,
)
from fedavg.config.tables.running import (
    PluginsConfig,
    SimulationConfig,
)
from fedavg.data.settings import DataConfig

__all__ = [
    "BlocksConfig",
    "BroadcastConfig",
    "ClippingConfig",
    "CohortConfig",
    "CompressionConfig",
    "Config",
    "DataConfig",
    "EncodingConfig",
    "EvaluationConfig",
    "LocalConfig",
    "ModelConfig",
    "PersonalizationConfig",
    "PluginsConfig",
    "PrivacyConfig",
    "ServerConfig",
    "SimulationConfig",
    "SumConfig",
    "TrainingConfig",
    "section",
]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole run.

    `stages` lists what changes an update beside [local] scaffold and [compression], a table each with its
    kind.
    """

    rounds: int = 60
    seed: int = 0
    baseline: bool = True
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    cohort: CohortConfig = CohortConfig()
    local: LocalConfig = LocalConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    server: ServerConfig = ServerConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    clipping: ClippingConfig = ClippingConfig()
    encoding: EncodingConfig = EncodingConfig()
    compression: CompressionConfig = CompressionConfig()
    broadcast: BroadcastConfig = BroadcastConfig()
    secure_sum: SumConfig = SumConfig()
    blocks: BlocksConfig = BlocksConfig()
    personalization: PersonalizationConfig = PersonalizationConfig()
    simulation: SimulationConfig = SimulationConfig()
    plugins: PluginsConfig = PluginsConfig()
    stages: list[dict[str, Any]] = msgspec.field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        checks.value.whole("rounds", self.rounds)
        checks.value.whole("seed", self.seed, 0)
        checks.value.whole(
            "simulation.workers, where -1 is one a core,", self.simulation.workers, -1
        )
        if self.simulation.elsewhere and not self.simulation.workers:
            elsewhere = "a cluster has processes of its own; -1 is one a processor"
            raise ValueError(f"simulation.workers = 0: {elsewhere}")
        if self.data.clients is not None:
            checks.value.whole("data.clients", self.data.clients)
        # An epsilon without noise would look like a promise.
        if not self.privacy.private and self.privacy.epsilon is not None:
            raise ValueError(
                "privacy.epsilon needs noise: choose privacy.noise (--noise gaussian on the command "
                "line), or leave epsilon out"
            )
        if not self.privacy.private and self.clipping.adapts:
            raise ValueError(
                "clipping.kind = 'adaptive' needs noise: without it nothing is clipped, and the "
                "counts that it learns from would be private data in the clear"
            )
        if self.compression.kind == "top-k":
            raise ValueError(f"compression.kind: {TOP_K_REFUSED}")
        _check_budget(self.privacy)


def _check_budget(privacy: PrivacyConfig) -> None:
    if privacy.epsilon is not None:
        checks.value.positive_or_infinite("privacy.epsilon", privacy.epsilon)
    if privacy.delta is not None:
        checks.value.proper_fraction("privacy.delta", privacy.delta)


def section(table: str) -> type[msgspec.Struct]:
    """The struct of a table, by its name; the whole configuration for any other name."""
    # Any other name stands for the whole configuration, so that messages about top-level keys work alike.
    default: object = Config()
    for part in table.split("."):
        default = getattr(default, part, None)
    return type(default) if isinstance(default, msgspec.Struct) else Config
