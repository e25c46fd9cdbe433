"""The settings of a run configuration: typed, frozen structs with defaults.

The defaults are the built-in example.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fedavg import checks
from fedavg.algorithms.random_k import TOP_K_REFUSED
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


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A built-in name or an import path, and what it starts from.

    `hidden` are widths of hidden layers. `file` is a safetensors file to start from, such as an earlier run's
    model.safetensors; tensors that match a pattern of `fresh` begin anew. Parameters that match `freeze` are
    never trained and never sent. `digest` is the file's SHA-256: a run writes it down, and is resumed with no
    other file.
    """

    name: str = "softmax"
    hidden: tuple[int, ...] = ()
    file: str = ""
    digest: str = ""
    freeze: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


class CohortConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Poisson with a rate, or fixed with a size; a round without a sum is tried again `retries` times.

    A size that is left out is 100. A rate beside a fixed size, or a size beside a rate, is refused.

    Left out, retries are 2 without noise, and 0 with it, where there can be none. A rate that is left out
    is .2 under noise, less where that would be more than 500 clients of a file of one's own, and follows the
    number of clients without noise.
    """

    kind: str = "poisson"
    rate: float | None = None
    size: int | None = None
    retries: int | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class LocalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Training at a client; batch_size 0 is the full batch, steps 0 leaves them to the epochs.

    Milestones are shares of the rounds after the warm-up, which is in rounds; clip_gradient 0 is none. A
    learning rate that is left out follows the data, and so do epochs: 4, and 1 for numbers of your own under
    noise.
    """

    epochs: int | None = None
    batch_size: int = 0
    steps: int = 0
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "sgd"
    lr: float | None = None
    schedule: Literal["constant", "step", "cosine"] = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    warmup: int = 0
    step_decay: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    proximal: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float | None = None
    clip_gradient: float = 0.0
    scaffold: bool = False


class TrainingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is descended at the clients, and where it is computed.

    `loss`, `step` and `loop` are a registered name ("focal"), a table of a name and its options
    ({kind = "focal", gamma = 2.0}), or an import path ("module:function") whose module may lie beside the
    configuration. Left out, the loss follows from the labels: cross-entropy for classes, the mean squared
    error for numbers, binary cross-entropy for several labels. A step gives the loss of one batch; a loop
    trains a client as it likes. `device` is of training and scoring: "cpu", "cuda", "mps", or "auto" for the
    first of cuda, mps and cpu that is there. `precision` "bfloat16" or "float16" is mixed precision.
    """

    loss: str | dict[str, Any] | None = None
    step: str | dict[str, Any] | None = None
    loop: str | dict[str, Any] | None = None
    device: str = "cpu"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"


class EvaluationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How released models are scored on held-out examples.

    `metrics` are computed after every round, beside the `headline`: names of ours or of scikit-learn's
    scorers ("roc_auc", "f1_macro"), tables of a name and its options, or import paths of a function of labels
    and predictions. Left out, the headline is accuracy for classes, the AUC where one class has over 80 % of
    the rows, the RMSE for numbers, and the average precision for several labels. `public` says that the
    held-out rows are public; otherwise no figure on them is covered by epsilon. Without noise only:
    `patience` stops a run once the headline has not improved by more than `min_delta` for so many rounds, 0
    never; `best` keeps the best round's model; `by_client` scores each client's rows before and after, by the
    accuracy or the RMSE for any headline, since an AUC need not be defined on a client's rows.
    """

    metrics: list[str | dict[str, Any]] = msgspec.field(default_factory=list[str | dict[str, Any]])
    headline: str | dict[str, Any] | None = None
    public: bool = False
    patience: int = 0
    min_delta: float = 0.0
    best: bool = False
    by_client: bool = False


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server's step; average_tail > 0 releases the mean of the last rounds' models.

    Without beta1: 0.9, and 0 for "adagrad". The schedule is as in [local]. `weighting` "auto" weighs
    clients by their examples without noise, and equally with it. Optimiser, learning rate and schedule that
    are left out follow the data.
    """

    optimizer: str | None = None
    lr: float | None = None
    schedule: Literal["constant", "step", "cosine"] | None = None
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    warmup: int = 0
    momentum: float = 0.8
    beta1: float | None = None
    beta2: float = 0.99
    tau: float | None = None
    average_tail: float = 0.2
    weighting: Literal["auto", "examples", "equal"] = "auto"
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class PrivacyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Noise and budget. Without noise_multiplier, it is calibrated to epsilon over all rounds.

    A delta that is left out is 1e-5, and 1 / (100 x clients) where that is less.

    `population` is N, the declared and public number of enrolled clients, of whom some may never answer; left
    out, it is the number of clients that hold data.

    `ledger` is the file of a budget that several runs on the same clients share (`fedavg ledger create`).
    """

    noise: str = "gaussian"
    epsilon: float | None = None
    delta: float | None = None
    noise_multiplier: float | None = None
    clip: float = 0.5
    max_participations: int | None = None
    population: int | None = None
    ledger: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def private(self) -> bool:
        """Whether noise is added."""
        return self.noise != "none"


class EncodingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Integers: bits 0 chooses; `range` bounds a coordinate (rotated: the norm) when there is no noise.

    Without noise, `rounding` "auto" is "nearest", or "stochastic" where `rotate` or one bit needs it:
    unbiased, and what lies beyond the range is clamped.

    `kind` "auto" follows from these settings. A kind of your own is named as it is registered. It is given
    the clip norm under noise, or the range without, as `clip`, and the other settings of this table where it
    has such fields; its further fields are `options`.
    """

    kind: str = "auto"
    bits: int = 0
    rotate: bool = False
    rounding: Literal["auto", "nearest", "stochastic"] = "auto"
    range: float = 8.0
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class CompressionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Random-k sends the same `fraction` of the places for all; clients may keep what was left out."""

    kind: Literal["none", "random-k", "top-k"] = "none"
    fraction: float = 0.1
    error_feedback: bool = False


class BroadcastConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the model travels to the clients; integers have a scale for each output channel."""

    format: Literal["float32", "float16", "int8", "int4"] = "float32"


class SumConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the integers are added, and what is assumed of the clients.

    Of "encrypted-secagg": `scheme` encrypts. There, and of "ckks", "bfv" and "selective", `key_at` can
    decrypt: the key holder alone, or all clients, which sends half the bytes or less; left out, it is
    the key holder under "encrypted-secagg" and the clients elsewhere. Of "selective": `scheme` encrypts a
    `share` of the coordinates, chosen by `choice` (from the held-out examples, which are the server's
    own; at random; or from the clients' own examples, by scores that `scheme` adds under encryption
    before the first round, without noise only), and `rest` adds the others. "one-shot": each client encrypts
    under a key of its own, and only the sum of the keys opens. Its `options` are `keys` ("committee" or
    "secagg"), and `committee`, `corrupt_members`, `absent_members` and `epoch_rounds` of a committee.
    """

    kind: str = "secagg"
    scheme: Literal["bfv", "ckks"] = "bfv"
    key_at: Literal["holder", "clients"] | None = None
    share: float = 0.2
    choice: Literal["public", "random", "clients"] = "public"
    rest: Literal["secagg", "insecure-plain"] = "secagg"
    threat_model: Literal["malicious", "malicious-local", "semi-honest"] = "malicious"
    dropout_rate: float | None = None
    corrupt_rate: float = 0.1
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class PersonalizationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Models of the clients' own, none of which is ever sent.

    "finetune" trains the released model at each client after the last round; "ditto" trains a model beside
    the shared one, drawn to it by `strength`; "fedrep" keeps the parameters that match `head` at the client.
    Each client keeps `test_fraction` of its examples to score both models on. `epochs` and `lr` are of the
    personal training; 0 takes those of [local].  A kind of your own is named as it is registered, with its
    fields as `options`.
    """

    kind: str = "none"
    epochs: int = 0
    lr: float = 0.0
    strength: float = 0.1
    head: tuple[str, ...] = ()
    test_fraction: float = 0.2
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ClippingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A clip norm that stays privacy.clip, or starts there and follows a quantile of the norms."""

    kind: Literal["fixed", "adaptive"] = "fixed"
    quantile: float = 0.5
    learning_rate: float = 0.2
    bit_stddev: float | None = None

    @property
    def adapts(self) -> bool:
        """Whether the clip norm follows a quantile."""
        return self.kind == "adaptive"


class BlocksConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Model parallelism over clients: each trains and sends one block.  Nothing here: the whole model.

    `kind` "layers" cuts between tensors: into `count` blocks, into blocks whose gradients and optimiser
    state fit `memory` ("2MB"), or by `patterns` of names, a list a block.  "rolling" cuts within layers:
    `count` windows of a `share` (1/count) of the hidden units, which move on with the rounds.
    """

    count: int = 0
    kind: str = "layers"
    share: float | None = None
    memory: str = ""
    patterns: list[list[str]] = msgspec.field(default_factory=list[list[str]])
    seed: int = 0


class PluginsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modules of the user's own that register parts; they may lie beside the configuration.

    `folders` are others in which modules lie; a run writes down that of its configuration, so that it can be
    resumed from its own directory.

    Such a part is named where one of ours could be (`privacy.noise`, `secure_sum.kind`, `server.optimizer`,
    `cohort.kind`, `encoding.kind`, `stages`), and its own fields are given in the table's `options`.
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
