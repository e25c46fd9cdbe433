"""The model and its data; nothing here knows of secure sums."""

import numpy as np

CLASSES, PIXELS = 10, 64


def load(node: int) -> tuple[np.ndarray, np.ndarray]:
    """The examples of one node: 300 and a few more, labelled by one linear rule that all nodes share."""
    rule = np.random.default_rng(1).normal(size=(PIXELS, CLASSES))
    random = np.random.default_rng(100 + node)
    x = random.normal(size=(300 + 10 * (node % 100), PIXELS)) / np.sqrt(PIXELS)
    return x, (x @ rule + 0.1 * random.normal(size=(len(x), CLASSES))).argmax(axis=1)


def start() -> dict[str, np.ndarray]:
    """The first model."""
    return {
        "weight": np.zeros((PIXELS, CLASSES), np.float32),
        "bias": np.zeros(CLASSES, np.float32),
        "steps": np.array(0),
    }


def probabilities(model: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """float[examples, CLASSES]."""
    z = x @ model["weight"] + model["bias"]
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def train(model: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Twenty steps of gradient descent."""
    weight, bias = model["weight"], model["bias"]
    for _ in range(20):
        slope = probabilities({"weight": weight, "bias": bias}, x)
        slope[np.arange(len(y)), y] -= 1
        weight = weight - 0.5 * x.T @ slope / len(y)
        bias = bias - 0.5 * slope.mean(axis=0)
    trained = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    return {**trained, "steps": model["steps"] + 20}


def scores(model: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean loss, and accuracy."""
    p = probabilities(model, x)
    return float(-np.log(p[np.arange(len(y)), y]).mean()), float((p.argmax(axis=1) == y).mean())
