"""Images from gradients of which a part is encrypted: a search for the image whose gradient matches the rest.

A client takes one step on one image and encrypts a share of its gradient. The server has the other entries,
the model, and public images of the same kind. It looks for an input whose gradient has the same entries
there: deep leakage from gradients (Zhu et al. 2019), with the label read from signs in the last layer where
it can be (iDLG, Zhao et al. 2020). No layer is solved for, as `selective_encryption.py` does; a model to
differentiate is enough.

Run: python examples/gradient_matching.py [gradient-matching.svg]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from fedavg import ModelSpec, SensitivityMap, label_sensitivity, load_task
from fedavg.models.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARES = (0.0, 0.05, 0.2, 0.5, 1.0)
SIDE, CLASSES = 8, 10
PIXELS = SIDE * SIDE


class Server:
    """What the attacker has before anything arrives: the model and public images.

    Args:
        features: float32[n, 64], public images.
        labels: int64[n].
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray) -> None:
        self.model = ModelSpec("mlp", (PIXELS,), CLASSES).build().double()
        self.parameters = list(self.model.parameters())
        self.size = Layout.of(self.model).size
        public = torch.from_numpy(features).double()
        self.average = public.mean(dim=0)
        self.averages = [public[torch.from_numpy(labels == c)].mean(dim=0) for c in range(CLASSES)]

    def gradient(self, image: torch.Tensor, label: int) -> torch.Tensor:
        """float64[d], differentiable by the image: weights and biases of each layer in turn."""
        loss = functional.cross_entropy(self.model(image[None]), torch.tensor([label]))
        parts = torch.autograd.grad(loss, self.parameters, create_graph=True)
        return torch.cat([part.reshape(-1) for part in parts])

    def labels(self, gradient: torch.Tensor, seen: torch.Tensor) -> Iterable[int]:
        """Which classes it can be: the one row of the last layer that has negative entries, or else any.

        A row is (p_c − [c is the label]) times activations, and these are not negative.
        """
        weight, bias = self.parameters[-2:]
        tail = (gradient * seen)[-weight.numel() - bias.numel() :]
        rows = torch.cat(
            [tail[: weight.numel()].reshape(CLASSES, -1), tail[weight.numel() :, None]], 1
        )
        negative = (rows < 0).any(dim=1).nonzero().flatten().tolist()
        return negative or range(CLASSES)

    def invert(self, gradient: torch.Tensor, seen: torch.Tensor, steps: int) -> np.ndarray:
        """float64[64]: the image whose gradient is nearest, over all labels it can be and two beginnings.

        Args:
            gradient: float64[d], the client's.
            seen: bool[d]: what the server has of it; the rest is not looked at.
            steps: of each search.
        """
        target = gradient[seen]
        scale = float((target**2).sum())
        if not scale:
            return self.average.numpy()
        tries = (
            self._search(target / scale**0.5, seen, scale**0.5, label, start, steps)
            for label in self.labels(gradient, seen)
            for start in (self.average, self.averages[label])
        )
        best = min(tries, key=lambda found: found[0])[1]
        return np.clip(best.numpy(), 0, 1)

    def _search(
        self,
        target: torch.Tensor,
        seen: torch.Tensor,
        scale: float,
        label: int,
        start: torch.Tensor,
        steps: int,
    ) -> tuple[float, torch.Tensor]:
        """L-BFGS on the pixels: the distance of the gradients that it ends with, and the image."""
        image = start.clone().requires_grad_()
        search = torch.optim.LBFGS(
            [image], max_iter=steps, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )
        best = (np.inf, start)

        def distance() -> float:
            nonlocal best
            gap = self.gradient(image, label)[seen] / scale - target
            loss = (gap**2).sum()
            (image.grad,) = torch.autograd.grad(loss, [image])
            value = loss.item()
            if value < best[0]:
                best = (value, image.detach().clone())
            return value

        search.step(distance)
        return best


class Row(NamedTuple):
    """What became of the images at one share and choice.

    Args:
        name: of the row.
        images: float64[n, 64].
        errors: float64[n]; 0 is the image itself, 1 no better than the average image.
    """

    name: str
    images: np.ndarray
    errors: np.ndarray


def hidden_by(scores: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    """A name and bool[d], True where encrypted, for every share and choice."""
    for share in SHARES:
        if share in (0.0, 1.0):
            yield f"{share:.0%}", np.full(scores.size, bool(share))
            continue
        yield f"{share:.0%} at random", SensitivityMap.random(scores.size, share, seed=1).mask
        yield f"{share:.0%} by sensitivity", SensitivityMap.from_scores(scores, share).mask


def picture(rows: Iterable[Row], cell: int = 5) -> str:
    """An SVG of 8×8 images: a row for each `Row`, with its errors under the images."""
    step, left, parts, top = SIDE * cell + 14, 150, [], 10
    for row in rows:
        parts.append(f'<text x="8" y="{top + SIDE * cell // 2 + 4}">{row.name}</text>')
        for place, (image, error) in enumerate(zip(row.images, row.errors, strict=True)):
            x = left + place * step
            for pixel, value in enumerate(image):
                grey = round(255 * (1 - float(np.clip(value, 0, 1))))
                parts.append(
                    f'<rect x="{x + pixel % SIDE * cell}" y="{top + pixel // SIDE * cell}" '
                    f'width="{cell}" height="{cell}" fill="rgb({grey},{grey},{grey})"/>'
                )
            if not np.isnan(error):  # the images themselves have none
                parts.append(
                    f'<text x="{x}" y="{top + SIDE * cell + 11}" class="e">{error:.2f}</text>'
                )
        top += SIDE * cell + 18
    width = left + step * len(row.images)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        'font-family="sans-serif" font-size="12"><style>.e{font-size:9px;fill:#555}</style>'
        f'<rect width="{width}" height="{top}" fill="white"/>{"".join(parts)}</svg>'
    )


def main(path: Path, images: int = 8, steps: int = 100) -> None:
    """Print the errors of the search, and draw what it found."""
    task = load_task("digits")
    server = Server(task.test.features, task.test.labels)
    scores = label_sensitivity(ModelSpec("mlp", (PIXELS,), CLASSES).build(), task.test)
    victims = task.train.subset(np.arange(images))
    shown = victims.features.astype(np.float64)
    gradients = [
        server.gradient(torch.from_numpy(image), int(label)).detach()
        for image, label in zip(shown, victims.labels, strict=True)
    ]
    average = server.average.numpy()
    gains = np.linalg.norm(average - shown, axis=1)
    rows = [Row("the images", shown, np.full(images, np.nan))]
    print("encrypted            error: median     best    worst   sensitivity left")
    for name, hidden in hidden_by(scores):
        seen = torch.from_numpy(~hidden)
        found = np.stack([server.invert(gradient, seen, steps) for gradient in gradients])
        errors = np.linalg.norm(found - shown, axis=1) / gains
        rows.append(Row(name, found, errors))
        left = scores[~hidden].sum() / scores.sum()
        print(
            f"{name:20s}   {np.median(errors):10.2f}   {errors.min():6.2f}   {errors.max():6.2f}"
            f"   {left:14.1%}"
        )
    path.write_text(picture(rows), encoding="utf-8")
    print(f"wrote {path}\nerror 0: the image itself; 1: no better than the average image")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gradient-matching.svg"))
