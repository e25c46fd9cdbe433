"""The ClientApp: two lines of it are about secure sums."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedavg.adapters.flower import secure_mod
from quick.task import load, scores, train

app = ClientApp(mods=[secure_mod("$FEDAVG_KEYS/{partition-id}")])


@app.train()
def fit(message: Message, context: Context) -> Message:
    """Train on the node's own examples."""
    x, y = load(context.node_config["partition-id"])
    model = {name: array.numpy() for name, array in message.content["arrays"].items()}
    trained = train(model, x, y)
    loss, _ = scores(trained, x, y)
    content = RecordDict(
        {
            "arrays": ArrayRecord({k: Array(np.asarray(v)) for k, v in trained.items()}),
            "metrics": MetricRecord({"train_loss": loss, "num-examples": len(y)}),
        }
    )
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Score the model on examples that were not trained on."""
    x, y = load(1000 + context.node_config["partition-id"])
    model = {name: array.numpy() for name, array in message.content["arrays"].items()}
    loss, accuracy = scores(model, x, y)
    metrics = MetricRecord({"eval_loss": loss, "eval_acc": accuracy, "num-examples": len(y)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
