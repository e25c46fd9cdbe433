"""What a server reads from the coordinates that selective encryption leaves open: images, by inversion.

A client takes one step on one image and encrypts a share of its gradient. The server sees the rest. In
the first layer every row of dW is the input times a number, and db is that number. So ratios of
unencrypted entries are ratios of pixels (Phong et al. 2017; Zhu et al. 2019 use a search instead).

Run: python examples/selective_encryption.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fedavg import (
    Bfv,
    InsecurePlain,
    ModelSpec,
    SecAgg,
    Selective,
    SensitivityMap,
    label_sensitivity,
    load_task,
    sum_once,
)
from fedavg.models.layout import Layout

if TYPE_CHECKING:
    from fedavg.sums.interface import SecureSum

SHARES = (0.0, 0.05, 0.2, 0.5, 0.8, 1.0)
PIXELS, HIDDEN = 64, 64


def gradient_of(model: torch.nn.Module, image: np.ndarray, label: int) -> np.ndarray:
    """The gradient of one example, as one vector: what a client with one image would send."""
    logits = model(torch.from_numpy(image[None]))
    loss = functional.cross_entropy(logits, torch.tensor([label]))
    names, parameters = zip(*model.named_parameters(), strict=True)
    parts = torch.autograd.grad(loss, parameters)
    return Layout.of(model).flatten(dict(zip(names, parts, strict=True)))


def invert(gradient: np.ndarray, seen: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """The image, from the entries of the first layer's gradient that were seen.

    [dW | db] = delta · (x, 1): a matrix of rank one of which some entries are known. Alternating least
    squares finds both factors up to one scale; the scale is db's, or else that of the average image.

    Args:
        gradient: float64[d]; weights and biases of the first layer come first.
        seen: bool[d]: what the server saw.
        guess: float64[64]: the average public image, for pixels that nothing is known of.
    """
    size = HIDDEN * PIXELS
    rows = np.column_stack([gradient[:size].reshape(HIDDEN, PIXELS), gradient[size:][:HIDDEN]])
    known = np.column_stack([seen[:size].reshape(HIDDEN, PIXELS), seen[size:][:HIDDEN]])
    known &= (np.abs(rows) * known).max(axis=1, keepdims=True) > 0  # units that were switched off
    prior = np.append(guess, 1.0)
    inputs = prior.copy()
    for _ in range(200):
        weight = (known * inputs**2).sum(axis=1)
        delta = (known * rows * inputs).sum(axis=1) / np.where(weight > 0, weight, 1)
        weight = (known * delta[:, None] ** 2).sum(axis=0)
        found = (known * rows * delta[:, None]).sum(axis=0) / np.where(weight > 0, weight, 1)
        inputs = np.where(weight > 0, found, prior)
    if not (weight > 0).any():
        return guess
    if weight[-1] > 0:  # a bias was seen: its input is 1
        scale = 1 / inputs[-1] if inputs[-1] else 1.0
    else:
        here = weight[:-1] > 0
        scale = (guess[here] @ inputs[:-1][here]) / max(
            inputs[:-1][here] @ inputs[:-1][here], 1e-12
        )
    image = np.where(weight[:-1] > 0, inputs[:-1] * scale, guess)
    return np.clip(np.nan_to_num(image), 0, 1)


def error(image: np.ndarray, found: np.ndarray, guess: np.ndarray) -> float:
    """Distance from the image, as a share of the average image's distance: 0 is the image, 1 no gain."""
    return float(np.linalg.norm(found - image) / np.linalg.norm(guess - image))


def choices(scores: np.ndarray, share: float) -> dict[str, np.ndarray]:
    """What is encrypted, chosen at random and by sensitivity."""
    if share in (0.0, 1.0):
        whole = np.full(scores.size, bool(share))
        return {"random": whole, "sensitivity": whole}
    return {
        "random": SensitivityMap.random(scores.size, share, seed=1).mask,
        "sensitivity": SensitivityMap.from_scores(scores, share).mask,
    }


def upload_bytes(length: int, share: float, rest: SecAgg | InsecurePlain) -> int:
    """Bytes that one of ten clients sends for one sum of `length` integers of 20 bits."""
    sums: SecureSum = Bfv() if share == 1.0 else rest
    if 0.0 < share < 1.0:
        sums = Selective(Bfv(), rest, SensitivityMap.random(length, share, seed=1))
    vectors = {client: np.full(length, client) for client in range(10)}
    received: list[tuple[int, bytes]] = []
    sum_once(sums, vectors, max_abs=2**19, context=b"bytes", received=received)
    return sum(len(message) for sender, message in received if sender == 0)


def main(images: int = 40, length: int = 100_000) -> None:
    """Print what is left exposed, what inversion makes of it, and what the upload costs."""
    task = load_task("digits")
    model = ModelSpec("mlp", (PIXELS,), 10).build()
    scores = label_sensitivity(model, task.test)
    guess = task.test.features.mean(axis=0).astype(np.float64)
    victims = task.train.subset(np.arange(images))
    gradients = [
        gradient_of(model, image, int(label))
        for image, label in zip(victims.features, victims.labels, strict=True)
    ]
    print(
        "encrypted  chosen by     sensitivity left   error: median    best image   bytes up: "
        "rest in clear, rest masked"
    )
    for share in SHARES:
        sizes = [upload_bytes(length, share, rest) / length for rest in (InsecurePlain(), SecAgg())]
        for name, hidden in choices(scores, share).items():
            left = scores[~hidden].sum() / scores.sum()
            found = [
                error(image, invert(gradient, ~hidden, guess), guess)
                for image, gradient in zip(victims.features, gradients, strict=True)
            ]
            print(
                f"{share:8.0%}   {name:12s}  {left:14.1%}   {np.median(found):13.2f}   {min(found):11.2f}"
                f"   {sizes[0]:22.2f}  {sizes[1]:10.2f}"
            )
    print(
        "error 0: the image itself; 1: no better than the average image. An attacker who only solves a "
        "linear problem\nreads this much; one who knows more reads more. Selective encryption has no "
        "proof: masks for the rest (last column) do."
    )


if __name__ == "__main__":
    main()
