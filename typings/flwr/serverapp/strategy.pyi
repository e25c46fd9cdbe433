"""Only what examples/flower uses of Flower 1.42."""

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp import Grid

class Result:
    arrays: ArrayRecord
    evaluate_metrics_clientapp: dict[int, MetricRecord]

class FedAvg:
    def __init__(
        self,
        *,
        fraction_evaluate: float = ...,
        min_train_nodes: int = ...,
        min_evaluate_nodes: int = ...,
        min_available_nodes: int = ...,
    ) -> None: ...
    def start(
        self, grid: Grid, initial_arrays: ArrayRecord, num_rounds: int = ..., timeout: float = ...
    ) -> Result: ...
