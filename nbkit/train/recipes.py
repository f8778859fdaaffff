"""Recipes that are known to work, with where they come from and what they did here.

Grokking: training accuracy reaches 1 early, test accuracy stays at chance and rises to 1 long after. Power et
al. 2022, "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets" (arXiv 2201.02177),
train a two-layer transformer of width 128 in mini-batches of 512 with AdamW at lr 1e-3 and weight decay 1,
and need 10⁴ to 10⁵ steps (section 3, appendix A.1.2). Full batches, one layer and a higher learning rate
bring that down to hundreds.
"""

from __future__ import annotations

from nbkit.train.recipe import Recipe


def grokking_mlp() -> Recipe:
    """An MLP learns x + y mod 97 from half the table."""
    return Recipe(optimizer="adamw", lr=2e-2, weight_decay=1.0, betas=(0.9, 0.98), eval_every=10)


def grokking_transformer() -> Recipe:
    """A one-layer transformer learns x + y mod 97 from 40 % of the table."""
    return Recipe(optimizer="adamw", lr=5e-3, weight_decay=1.0, betas=(0.9, 0.98), eval_every=10)
