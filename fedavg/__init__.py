"""Federated averaging in which the server only ever sees aggregated or encrypted updates.

Names are imported on first use (PEP 562), so ``import fedavg.encoding.fixed_point`` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.algorithms.blocks.layers import LayerBlocks
    from fedavg.algorithms.blocks.rolling import RollingBlocks
    from fedavg.algorithms.error_feedback import ErrorFeedback
    from fedavg.algorithms.interface import UpdateStage
    from fedavg.algorithms.personal.ditto import Ditto
    from fedavg.algorithms.personal.fedrep import FedRep
    from fedavg.algorithms.personal.finetune import FineTune
    from fedavg.algorithms.personal.interface import Personalization
    from fedavg.algorithms.random_k import RandomK
    from fedavg.algorithms.scaffold import Scaffold
    from fedavg.contrib.masked_encrypted import EncryptedSecAgg
    from fedavg.contrib.selective.map import SensitivityMap
    from fedavg.contrib.selective.sum import Selective
    from fedavg.data.dataset import Dataset
    from fedavg.data.foreign import as_dataset
    from fedavg.data.placement import place
    from fedavg.data.settings import DataConfig
    from fedavg.data.tables.schemas.schema import Schema
    from fedavg.data.tasks import load_task
    from fedavg.encoding.fixed_point import Encoding, FixedPoint
    from fedavg.encoding.quantised import Quantised
    from fedavg.errors import (
        CapacityError,
        ConfigError,
        DataError,
        FedAvgError,
        JournalError,
        LocalProtocolError,
        NonFiniteError,
        PlanError,
        ReportError,
        RoundAbortedError,
        WireFormatError,
    )
    from fedavg.federation.federation import Federation, RoundResult
    from fedavg.federation.results import Results, train
    from fedavg.files import FileJournal
    from fedavg.models.features.frozen import FrozenModel
    from fedavg.models.features.images import Scattering
    from fedavg.models.features.interface import FixedFeatures
    from fedavg.models.spec import ModelSpec
    from fedavg.optimizers.local import LocalTraining
    from fedavg.optimizers.schedule import Schedule
    from fedavg.optimizers.server import (
        FedAdagrad,
        FedAdam,
        FedAvg,
        FedMomentum,
        FedYogi,
        Progress,
        ServerOptimizer,
        ServerRule,
    )
    from fedavg.optimizers.wrapped import Averaged, Scheduled
    from fedavg.parts import Part, Trait, register
    from fedavg.plan.calibration import calibrated
    from fedavg.plan.plan import Budget, Limits, Plan
    from fedavg.plan.resolution import Resolution, ResolvedPlan, resolve
    from fedavg.privacy.clipping import AdaptiveClipping
    from fedavg.privacy.noise import (
        CentralGaussian,
        DistributedDiscreteGaussian,
        DistributedGaussian,
        DistributedSkellam,
        Noise,
    )
    from fedavg.privacy.sampling import Cohort, DealtCohort, FixedCohort, PoissonCohort
    from fedavg.protocol.transcript import Transcript
    from fedavg.records.federation import RecordFederation
    from fedavg.records.privacy import RecordPlan, RecordPrivacy
    from fedavg.records.table import Silo
    from fedavg.robust.rules import MedianOfGroups, RobustMean, TrimmedMeanOfGroups
    from fedavg.simulation.faults import Faults
    from fedavg.simulation.interface import Enrolled, Simulation
    from fedavg.sums.encrypted import Bfv, Ckks
    from fedavg.sums.interface import SecureSum
    from fedavg.sums.masked import SecAgg
    from fedavg.sums.once import sum_once
    from fedavg.sums.one_shot import OneShot
    from fedavg.sums.plain import InsecurePlain
    from fedavg.training.evaluation import Scoring
    from fedavg.training.sensitivity import gradient_times_weight, label_sensitivity
    from fedavg.training.stopping import EarlyStopping

_HOME = {
    "AdaptiveClipping": "privacy.clipping",
    "Averaged": "optimizers.wrapped",
    "Bfv": "sums.encrypted",
    "Blocks": "algorithms.blocks.interface",
    "Budget": "plan.plan",
    "CapacityError": "errors",
    "CentralGaussian": "privacy.noise",
    "Ckks": "sums.encrypted",
    "Cohort": "privacy.sampling",
    "DealtCohort": "privacy.sampling",
    "ConfigError": "errors",
    "DataConfig": "data.settings",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "DistributedDiscreteGaussian": "privacy.noise",
    "DistributedGaussian": "privacy.noise",
    "DistributedSkellam": "privacy.noise",
    "Ditto": "algorithms.personal.ditto",
    "EarlyStopping": "training.stopping",
    "Encoding": "encoding.fixed_point",
    "EncryptedSecAgg": "contrib.masked_encrypted",
    "Enrolled": "simulation.interface",
    "ErrorFeedback": "algorithms.error_feedback",
    "Faults": "simulation.faults",
    "FedAdagrad": "optimizers.server",
    "FedAdam": "optimizers.server",
    "FedAvg": "optimizers.server",
    "FedAvgError": "errors",
    "FedMomentum": "optimizers.server",
    "FedRep": "algorithms.personal.fedrep",
    "FedYogi": "optimizers.server",
    "Federation": "federation.federation",
    "FileJournal": "files",
    "FineTune": "algorithms.personal.finetune",
    "FixedCohort": "privacy.sampling",
    "FixedFeatures": "models.features.interface",
    "FixedPoint": "encoding.fixed_point",
    "FrozenModel": "models.features.frozen",
    "InsecurePlain": "sums.plain",
    "JournalError": "errors",
    "LayerBlocks": "algorithms.blocks.layers",
    "Limits": "plan.plan",
    "LocalProtocolError": "errors",
    "LocalTraining": "optimizers.local",
    "MedianOfGroups": "robust.rules",
    "ModelSpec": "models.spec",
    "Noise": "privacy.noise",
    "NonFiniteError": "errors",
    "OneShot": "sums.one_shot",
    "Part": "parts",
    "Personalization": "algorithms.personal.interface",
    "Plan": "plan.plan",
    "PlanError": "errors",
    "PoissonCohort": "privacy.sampling",
    "Progress": "optimizers.server",
    "Quantised": "encoding.quantised",
    "RandomK": "algorithms.random_k",
    "RecordFederation": "records.federation",
    "RecordPlan": "records.privacy",
    "RecordPrivacy": "records.privacy",
    "ReportError": "errors",
    "Resolution": "plan.resolution",
    "ResolvedPlan": "plan.resolution",
    "Results": "federation.results",
    "RobustMean": "robust.rules",
    "RollingBlocks": "algorithms.blocks.rolling",
    "RoundAbortedError": "errors",
    "RoundResult": "federation.federation",
    "Scaffold": "algorithms.scaffold",
    "Scattering": "models.features.images",
    "Schedule": "optimizers.schedule",
    "Schema": "data.tables.schemas.schema",
    "Scheduled": "optimizers.wrapped",
    "Scoring": "training.evaluation",
    "SecAgg": "sums.masked",
    "SecureSum": "sums.interface",
    "Selective": "contrib.selective.sum",
    "SensitivityMap": "contrib.selective.map",
    "ServerOptimizer": "optimizers.server",
    "ServerRule": "optimizers.server",
    "Silo": "records.table",
    "Simulation": "simulation.interface",
    "Trait": "parts",
    "Transcript": "protocol.transcript",
    "TrimmedMeanOfGroups": "robust.rules",
    "UpdateStage": "algorithms.interface",
    "WireFormatError": "errors",
    "as_dataset": "data.foreign",
    "calibrated": "plan.calibration",
    "gradient_times_weight": "training.sensitivity",
    "label_sensitivity": "training.sensitivity",
    "load_task": "data.tasks",
    "place": "data.placement",
    "register": "parts",
    "resolve": "plan.resolution",
    "sum_once": "sums.once",
    "train": "federation.results",
}

__all__ = [
    "AdaptiveClipping",
    "Averaged",
    "Bfv",
    "Blocks",
    "Budget",
    "CapacityError",
    "CentralGaussian",
    "Ckks",
    "Cohort",
    "ConfigError",
    "DataConfig",
    "DataError",
    "Dataset",
    "DealtCohort",
    "DistributedDiscreteGaussian",
    "DistributedGaussian",
    "DistributedSkellam",
    "Ditto",
    "EarlyStopping",
    "Encoding",
    "EncryptedSecAgg",
    "Enrolled",
    "ErrorFeedback",
    "Faults",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgError",
    "FedMomentum",
    "FedRep",
    "FedYogi",
    "Federation",
    "FileJournal",
    "FineTune",
    "FixedCohort",
    "FixedFeatures",
    "FixedPoint",
    "FrozenModel",
    "InsecurePlain",
    "JournalError",
    "LayerBlocks",
    "Limits",
    "LocalProtocolError",
    "LocalTraining",
    "MedianOfGroups",
    "ModelSpec",
    "Noise",
    "NonFiniteError",
    "OneShot",
    "Part",
    "Personalization",
    "Plan",
    "PlanError",
    "PoissonCohort",
    "Progress",
    "Quantised",
    "RandomK",
    "RecordFederation",
    "RecordPlan",
    "RecordPrivacy",
    "ReportError",
    "Resolution",
    "ResolvedPlan",
    "Results",
    "RobustMean",
    "RollingBlocks",
    "RoundAbortedError",
    "RoundResult",
    "Scaffold",
    "Scattering",
    "Schedule",
    "Scheduled",
    "Schema",
    "Scoring",
    "SecAgg",
    "SecureSum",
    "Selective",
    "SensitivityMap",
    "ServerOptimizer",
    "ServerRule",
    "Silo",
    "Simulation",
    "Trait",
    "Transcript",
    "TrimmedMeanOfGroups",
    "UpdateStage",
    "WireFormatError",
    "as_dataset",
    "calibrated",
    "gradient_times_weight",
    "label_sensitivity",
    "load_task",
    "place",
    "register",
    "resolve",
    "sum_once",
    "train",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'fedavg' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fedavg.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
