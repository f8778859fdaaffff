"""Recipes that make a model grok, with where they come from and what they did here.

Grokking: training accuracy reaches 1 early, test accuracy stays low and reaches 1 long after. Power et al.
2022, "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets" (arXiv 2201.02177), train a
transformer of two layers, width 128 and four heads in mini-batches of 512 with AdamW, lr 1e-3, weight decay
1, betas (0.9, 0.98), for 10⁵ steps (appendix A.1.2). One layer, full batches and a larger learning rate need
some hundreds of steps. The weight decay decides: without it, test accuracy stays where it is when training
accuracy is 1.

Figures: steps until test accuracy > 0.99 with seeds 0, 1, 2, evaluated every 10 steps, and CPU seconds on one
thread of a 2-core machine; `python -m tests.bench.session grok` measures them anew.
"""

from __future__ import annotations

from nbkit.train.recipe import Recipe


def grokking_mlp() -> Recipe:
    """A one-layer MLP learns `modular_arithmetic(fraction=0.5, equals=False)`, p = 97.

    Model, all with torch's own initialisation: one embedding 97 → 64 for both tokens, merged to 128, linear →
    256 with bias, ReLU, linear → 97 with bias.

    190, 200, 240 steps; 4.3 to 5.7 s. Training accuracy is 0.99 at step 30, where test accuracy is below
    0.001. With x² for ReLU: 130, 140, 160 steps; 3.3 to 4.0 s. With lr 1e-2: 340, 300, 360 steps; 6.9 to 8.2
    s. Without weight decay, test accuracy is below 0.001 after 2500 steps. An embedding from N(0, 1/64), as
    nbkit's own, does as well: 190, 200, 190 steps.
    """
    return Recipe(optimizer="adamw", lr=2e-2, weight_decay=1.0, betas=(0.9, 0.98), eval_every=10)


def grokking_transformer() -> Recipe:
    """A one-layer transformer learns `modular_arithmetic(fraction=0.4)`, p = 97.

    Model, as in Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability"
    (arXiv 2301.05217), section 3, but with layer norms: embedding 98 → 64 plus learned positions 3 × 64, both
    N(0, 1/64); then, with torch's own initialisation, a pre-norm block of four heads of 16 and an MLP 64 →
    256 → 64 with ReLU, all biases, no mask, no dropout; a last layer norm; linear 64 → 97, not tied; read at
    the last position.

    560, 380, 620 steps; 15 to 26 s if the query is computed at the last position alone, and about twice that
    if at all three. Training accuracy is 0.99 at step 90 or 100, where test accuracy is below 0.05. With lr
    3e-3: 650, 840, 740 steps, and without the layer norms 970 and more than 1500 twice.
    With lr 1e-2: 300, 300, 310 steps, but then training accuracy takes until step 120 to 160, less smoothly.
    """
    return Recipe(optimizer="adamw", lr=5e-3, weight_decay=1.0, betas=(0.9, 0.98), eval_every=10)
