"""The ServerApp: two lines of it are about secure sums."""

from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedavg.adapters.flower import SecureGrid
from quick.task import start

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Some rounds of federated averaging."""
    grid = SecureGrid(grid, context.run_config["agreement"])
    nodes = context.run_config["nodes"]
    strategy = FedAvg(
        min_train_nodes=nodes, min_evaluate_nodes=nodes, min_available_nodes=nodes
    )
    arrays = ArrayRecord({name: Array(array) for name, array in start().items()})
    result = strategy.start(grid, arrays, num_rounds=context.run_config["num-server-rounds"])
    for number, metrics in result.evaluate_metrics_clientapp.items():
        print(f"round {number}: accuracy {metrics['eval_acc']:.3f}")
