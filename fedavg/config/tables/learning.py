"""The tables of what is learnt, at the clients and at the server."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "BlocksConfig",
    "EvaluationConfig",
    "LocalConfig",
    "ModelConfig",
    "PersonalizationConfig",
    "ServerConfig",
    "TrainingConfig",
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


class EvaluationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How released models are scored on held-out examples.

    `metrics` are computed after every round, beside the `headline`: names of ours or of scikit-learn's
    scorers ("roc_auc", "f1_macro"), tables of a name and its options, or import paths of a function of labels
    and predictions. Left out, the headline is accuracy for classes, the AUC where one class has over 80 % of
    the rows, the RMSE for numbers, R² averaged over several columns of numbers, and the average precision for
    several labels. `public` says that the held-out rows are public; otherwise no figure on them is covered by
    epsilon. Without noise only: `patience` stops a run once the headline has not improved by more than
    `min_delta` for so many rounds, 0 never; `best` keeps the best round's model; `by_client` scores each
    client's rows before and after, by the accuracy or the RMSE for any headline (of several columns, each in
    units of its scale), since an AUC or R² need not be defined on a client's rows.
    """

    metrics: list[str | dict[str, Any]] = msgspec.field(default_factory=list[str | dict[str, Any]])
    headline: str | dict[str, Any] | None = None
    public: bool = False
    patience: int = 0
    min_delta: float = 0.0
    best: bool = False
    by_client: bool = False


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
