"""What a study asks of a trial, which is what one cell runs, and of the form of its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.studies.trials.words import Words

__all__ = ["Derived", "Form", "Measured", "Settings", "Trial"]

Settings: TypeAlias = dict[str, object]
"""Values by dotted key, such as "data.name"."""


class Derived(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values that follow from a configuration before any training.

    Args:
        parameters: number of trained and sent parameters.
        noise_multiplier: calibrated or given multiplier, which the accountant uses; None without noise.
        epsilon_budget: the limit of the run; None without one.
        ring_bits: bits of the sum's modulus.
        hides_updates: whether the secure sum hides single vectors from the server.
        warnings: warnings about a sound but unpromising plan.
    """

    task: str
    parameters: int
    noise_multiplier: float | None
    epsilon_budget: float | None
    ring_bits: int
    hides_updates: bool
    warnings: tuple[str, ...]


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The results of one finished run.

    Args:
        accuracy, loss: figures of the model that the run keeps, on held-out examples.
        headline, headline_value: the most informative figure of the task, and its value.
        headline_greater, headline_share: whether a larger value is better, and whether it is a share.
        baseline_rule, baseline_accuracy, headline_baseline: the constant prediction on the same examples, its
            accuracy, and the headline's value for it.
        figures: all figures of that model, by name; those of single classes or targets among them.
        epsilon_release, epsilon_server: values at the end; None for no bound.
        bytes_up, bytes_down: bytes of all messages for each party and secure sum that it was asked for.
        seconds, cpu_seconds: time of data, training and evaluations; without the calibration.
    """

    accuracy: float | None
    loss: float | None
    epsilon_release: float | None
    epsilon_server: float | None
    delta: float
    stopped: str
    bytes_up: float | None
    bytes_down: float | None
    seconds: float
    cpu_seconds: float
    headline: str | None = None
    headline_value: float | None = None
    headline_baseline: float | None = None
    headline_greater: bool | None = None
    headline_share: bool | None = None
    baseline_rule: str | None = None
    baseline_accuracy: float | None = None
    figures: dict[str, float | None] = {}


class Trial(Protocol):
    """What one cell runs; a value that crosses to other processes and machines."""

    @property
    def config(self) -> msgspec.Struct:
        """The requested configuration."""
        ...

    @property
    def seed(self) -> int:
        """The public seed, in which the cells of a group differ."""
        ...

    @property
    def plugins(self) -> Sequence[str]:
        """Modules with parts of the user's own, which are loaded before the trial is checked or run."""
        ...

    @property
    def named(self) -> Sequence[str]:
        """What the result depends on: paths of files, and import paths with a colon, among other names.

        A path at which there is no file, and a module that cannot be found, are left to the check.
        """
        ...

    @property
    def kind(self) -> tuple[object, ...]:
        """A key for trials that take about the same time."""
        ...

    def check(self) -> Derived:
        """Load the data, make the plan and calibrate its noise, without a run.

        Raises:
            FedAvgError: the configuration is invalid. The packages' own errors are raised too.
        """
        ...

    def measure(self, derived: Derived) -> Measured:
        """Run to the end, or to the end of the budget.

        Args:
            derived: result of `check`, so that the noise is not calibrated again.

        Raises:
            FedAvgError: the run failed. The packages' own errors are raised too.
        """
        ...


class Form(Protocol):
    """One form of configurations: its keys, the trial that a configuration makes, and its words."""

    @property
    def root(self) -> type[msgspec.Struct]:
        """The struct of a whole configuration. A study has the form whose required tables it has."""
        ...

    @property
    def without_effect(self) -> Sequence[str]:
        """Keys that change no result of a cell."""
        ...

    @property
    def strength(self) -> tuple[str, str]:
        """The keys of the budget and of the noise multiplier, either of which sets the noise."""
        ...

    @property
    def traffic(self) -> tuple[str, ...]:
        """Beginnings of keys that change the bytes that are sent, and not what is learnt from them."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the derived and measured values, in the order of the columns."""
        ...

    @property
    def words(self) -> Words:
        """How the page names what cells do."""
        ...

    @property
    def example(self) -> Mapping[str, object]:
        """The fewest settings that make a configuration, by dotted key."""
        ...

    def trial(self, settings: Settings) -> Trial:
        """The trial of some settings, by dotted keys.

        Raises:
            ConfigError: a key is unknown, or the settings do not fit together.
        """
        ...

    def asked(self, base: Settings, chosen: Settings) -> Settings:
        """Apply one combination of a grid to the base."""
        ...

    def in_effect(self, settings: Settings) -> Settings:
        """The settings without those that have no effect beside the others."""
        ...

    def noisy(self, settings: Settings) -> bool:
        """Whether runs with these settings add noise."""
        ...

    def central(self, settings: Settings) -> bool:
        """Whether the server adds the noise of runs with these settings."""
        ...

    def remarks(self, done: Sequence[Mapping[str, object]]) -> str:
        """What the epsilons of finished cells are about, in sentences; "" where the headings say it.

        Args:
            done: the values of each finished cell.
        """
        ...
