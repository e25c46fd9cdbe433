"""Federated averaging in which the server only ever sees aggregated or encrypted updates.

Names are imported on first use (PEP 562), so that ``import fedavg.encoding`` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedavg.clipping import AdaptiveClipping
    from fedavg.cohort import FixedCohort, PoissonCohort
    from fedavg.compression import RandomK
    from fedavg.data import Dataset, load_task
    from fedavg.encoding import FixedPoint
    from fedavg.errors import (
        CapacityError,
        ConfigError,
        DataError,
        FedAvgError,
        LocalProtocolError,
        NonFiniteError,
        PlanError,
        ReportError,
        RoundAbortedError,
        WireFormatError,
    )
    from fedavg.federation import Federation, RoundResult
    from fedavg.layer_blocks import LayerBlocks
    from fedavg.local_training import LocalTraining
    from fedavg.model_spec import ModelSpec
    from fedavg.noise import (
        CentralGaussian,
        DistributedDiscreteGaussian,
        DistributedGaussian,
        DistributedSkellam,
    )
    from fedavg.personalization import Ditto, FedRep, FineTune
    from fedavg.plan import Budget, Plan, calibrated
    from fedavg.quantised import Quantised
    from fedavg.resolution import Resolution
    from fedavg.rolling_blocks import RollingBlocks
    from fedavg.schedule import Schedule
    from fedavg.selective import Selective
    from fedavg.sensitivity import SensitivityMap
    from fedavg.sensitivity_scores import gradient_times_weight, label_sensitivity
    from fedavg.server_optim import (
        AveragedIterates,
        FedAdagrad,
        FedAdam,
        FedAvg,
        FedMomentum,
        FedYogi,
    )
    from fedavg.simulate import Faults
    from fedavg.sum_he import Bfv, Ckks
    from fedavg.sum_masked_he import EncryptedSecAgg
    from fedavg.sum_plain import InsecurePlain
    from fedavg.sum_secagg import SecAgg
    from fedavg.sum_single import sum_once
    from fedavg.transcript import Transcript

_HOME = {
    "AdaptiveClipping": "clipping",
    "AveragedIterates": "server_optim",
    "Bfv": "sum_he",
    "Budget": "plan",
    "CapacityError": "errors",
    "CentralGaussian": "noise",
    "Ckks": "sum_he",
    "ConfigError": "errors",
    "DataError": "errors",
    "Dataset": "data",
    "DistributedDiscreteGaussian": "noise",
    "DistributedGaussian": "noise",
    "DistributedSkellam": "noise",
    "Ditto": "personalization",
    "EncryptedSecAgg": "sum_masked_he",
    "Faults": "simulate",
    "FedAdagrad": "server_optim",
    "FedAdam": "server_optim",
    "FedAvg": "server_optim",
    "FedAvgError": "errors",
    "FedMomentum": "server_optim",
    "FedRep": "personalization",
    "FedYogi": "server_optim",
    "Federation": "federation",
    "FineTune": "personalization",
    "FixedCohort": "cohort",
    "FixedPoint": "encoding",
    "InsecurePlain": "sum_plain",
    "LayerBlocks": "layer_blocks",
    "LocalProtocolError": "errors",
    "LocalTraining": "local_training",
    "ModelSpec": "model_spec",
    "NonFiniteError": "errors",
    "Plan": "plan",
    "PlanError": "errors",
    "PoissonCohort": "cohort",
    "Quantised": "quantised",
    "RandomK": "compression",
    "ReportError": "errors",
    "Resolution": "resolution",
    "RollingBlocks": "rolling_blocks",
    "RoundAbortedError": "errors",
    "RoundResult": "federation",
    "Schedule": "schedule",
    "SecAgg": "sum_secagg",
    "Selective": "selective",
    "SensitivityMap": "sensitivity",
    "Transcript": "transcript",
    "WireFormatError": "errors",
    "calibrated": "plan",
    "gradient_times_weight": "sensitivity_scores",
    "label_sensitivity": "sensitivity_scores",
    "load_task": "data",
    "sum_once": "sum_single",
}

__all__ = [
    "AdaptiveClipping",
    "AveragedIterates",
    "Bfv",
    "Budget",
    "CapacityError",
    "CentralGaussian",
    "Ckks",
    "ConfigError",
    "DataError",
    "Dataset",
    "DistributedDiscreteGaussian",
    "DistributedGaussian",
    "DistributedSkellam",
    "Ditto",
    "EncryptedSecAgg",
    "Faults",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgError",
    "FedMomentum",
    "FedRep",
    "FedYogi",
    "Federation",
    "FineTune",
    "FixedCohort",
    "FixedPoint",
    "InsecurePlain",
    "LayerBlocks",
    "LocalProtocolError",
    "LocalTraining",
    "ModelSpec",
    "NonFiniteError",
    "Plan",
    "PlanError",
    "PoissonCohort",
    "Quantised",
    "RandomK",
    "ReportError",
    "Resolution",
    "RollingBlocks",
    "RoundAbortedError",
    "RoundResult",
    "Schedule",
    "SecAgg",
    "Selective",
    "SensitivityMap",
    "Transcript",
    "WireFormatError",
    "calibrated",
    "gradient_times_weight",
    "label_sensitivity",
    "load_task",
    "sum_once",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'fedavg' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fedavg.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
