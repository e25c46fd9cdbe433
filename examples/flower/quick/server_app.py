"""The ServerApp: two lines of it are about secure sums."""

import hashlib

from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedavg.adapters.flower import SecureGrid
from quick.task import start

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Some rounds of federated averaging."""
    config = context.run_config
    grid = SecureGrid(grid, config["agreement"], config, stage_timeout=config["stage-timeout"])
    strategy = FedAvg(
        fraction_evaluate=config["fraction-evaluate"],
        min_train_nodes=config["nodes"],
        min_evaluate_nodes=config["nodes"],
        min_available_nodes=config["nodes"],
    )
    arrays = ArrayRecord({name: Array(array) for name, array in start().items()})
    result = strategy.start(
        grid, arrays, num_rounds=config["num-server-rounds"], timeout=config["train-timeout"]
    )
    for number, metrics in result.evaluate_metrics_clientapp.items():
        print(f"round {number}: accuracy {metrics['eval_acc']:.3f}")
    digest = hashlib.sha256(result.arrays["weight"].numpy().tobytes()).hexdigest()
    print(f"finished: weights {digest[:16]}")
