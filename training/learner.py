"""A model that learns: how it takes a step, and how it walks through an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from training.muon import Muon
from training.photos.batches import SharedLoader
from training.photos.restoration import Item
from training.recipe import Recipe


class Learner:
    """Trains a model, which is on its device: all weights that require a gradient.

    The learning rate rises, and falls to 0, in so many steps.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, steps: int, accelerator: Accelerator
    ) -> None:
        if recipe.torch_compile:
            model.compile()
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = Muon(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        factor = warmup_then_cosine(steps, recipe.warmup_fraction)
        self.schedule = LambdaLR(self.optimizer, factor)
        self.gradient_clip, self.accelerator = recipe.gradient_clip, accelerator

    def learn(self, loader: SharedLoader, after_step: Callable[[float], None]) -> float:
        """Walk through an epoch; its mean loss.

        After each step `after_step` is told the loss of the step before, since the last one is
        still being computed on a GPU.
        """
        self.model.train()
        losses: list[Tensor] = []
        for weight, batch in loader:
            losses.append(self._step(batch, weight))
            self.schedule.step()
            after_step(losses[-2:][0].item())
        return torch.stack(losses).mean().item()

    @torch.no_grad()
    def watch(self, loader: SharedLoader) -> float:
        """The mean loss of photos from which nothing is learned."""
        self.model.eval()
        losses = [weight * self.model(**batch, loss_only=True).loss for weight, batch in loader]
        return self._over_processes(torch.stack(losses).mean()).item()

    def _step(self, batch: Item, weight: float) -> Tensor:
        """Move the weights once; the loss, (), over the whole batch of all processes."""
        loss = weight * self.model(**batch, loss_only=True).loss
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self._over_processes(loss.detach())

    def _over_processes(self, loss: Tensor) -> Tensor:
        return self.accelerator.reduce(loss, reduction="mean")


def warmup_then_cosine(steps: int, warmup_fraction: float) -> Callable[[int], float]:
    """Factor on the learning rate, step by step: a linear rise, then half a cosine to 0."""
    warmup = max(1, int(steps * warmup_fraction))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, steps - warmup))))

    return factor
