"""Train a model of the family on read speech: `RECIPES`, and what they share.

Pieces of 50 frames (0.8 s), L = 16, KL weight 0.01 for latents of frames (as in the hierarchical
models' own code) and 1 for the latent of a whole sequence, both reached in a twentieth of the
steps; Adam with a cosine, 45 epochs in batches of 8. Sizes of the recurrent networks are those of
the benchmark of X. Bie et al., arXiv:2106.06500, but for narrow layers, of 64 and 32 units, that
learn too slowly in so few steps: DKF has two wide ones in place of five, SRNN's prior and encoder
one in place of two. Those of the Transformers are ours. SRNN reads frames that it decoded itself
more and more often, always after an eighth of the steps ("scheduled sampling"): a loop that costs
little more for 16 pieces than for 8, so it has as many steps, of 16.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from inference.objectives import Objective, Schedule
from inference.schedules import cosine, linear
from inference.tasks.speech.files import Design
from inference.training import Run, fit
from ppl_models.data.speech import Utterance, chunks, spectra
from ppl_models.data.stft import STFT
from ppl_models.dvae import SamplingSchedule
from ppl_models.errors import unknown


@dataclass(frozen=True)
class Recipe:
    """A pair, and how it is trained.

    Parameters
    ----------
    design
        What is trained.
    epochs, learning_rate, batch_size
    kl_weight, global_weight
        Of the latents of frames, and of the latent of a whole sequence, once they are reached. One
        such latent to 50 frames weighs little beside them; at 0.01 they settle far from their
        prior, and speech generated from prior draws suffers (HiT-DVAE's most: docs/benchmarks.md).
    piece
        Frames of a training sequence.
    """

    design: Design
    epochs: int = 45
    learning_rate: float = 2e-3
    batch_size: int = 8
    kl_weight: float = 0.01
    global_weight: float = 1.0
    piece: int = 50

    def pieces(self, utterances: list[Utterance], **settings: Any) -> tuple[Tensor, list[str]]:
        """Read utterances; return pieces (N, T, F) of powers, and what was wrong with others.

        Parameters
        ----------
        utterances
        **settings
            Of `ppl_models.data.speech.spectra`: ``resample``, ``channel``, ``on_error``.

        Raises
        ------
        InputError
            As `spectra` and `chunks` do.
        """
        powers = spectra(utterances, self.design.stft, **settings)
        return chunks(powers, self.piece), [why for _, why in powers.skipped]

    def train(
        self,
        pieces: Tensor,
        directory: str | os.PathLike[str] | None = None,
        *,
        mask: Tensor | None = None,
        seed: int = 0,
        epochs: int | None = None,
        **settings: Any,
    ) -> Run:
        """Train a new pair on pieces (N, T, F); or go on, with ``resume=True``.

        Parameters
        ----------
        pieces
        directory
            Of the run.
        mask
            (N, T), the frames that there are, the first ones of each piece: all by default.
        seed
            Decides initial weights, the order of the pieces, and noise.
        epochs
            In place of the recipe's; schedules shrink with it, so a resumed run must have the same.
        **settings
            Of `inference.fit`.
        """
        epochs = epochs or self.epochs
        model, guide = self.design.pair(pieces if mask is None else pieces[mask], seed)
        steps = epochs * -(-len(pieces) // self.batch_size)
        warmup = steps // 20 + 1
        if self.design.scheduled:
            model.sampling = SamplingSchedule(steps // 50, steps * 3 // 25)
        return fit(
            model,
            guide,
            pieces if mask is None else {"s": pieces, "mask": mask},
            epochs=epochs,
            batch_size=self.batch_size,
            objective=Objective("meanfield", kl_weight=self._weights(model, warmup) or 1.0),
            learning_rate=cosine(steps, self.learning_rate, warmup=warmup),
            clip=10.0,
            seed=seed,
            directory=directory,
            **settings,
        )

    def _weights(self, model: Any, warmup: int) -> dict[str, Schedule]:
        weights = dict[str, Schedule]()
        if model.latent_dim:
            weights[model.site] = linear(warmup, end=self.kl_weight)
        if model.global_dim:
            weights[model.global_site] = linear(warmup, end=self.global_weight)
        return weights


DKF = {"emission_dims": (256, 256)}
KVAE = {"latent_dim": 16, "num_modes": 5, "hidden_dims": (128,), "learn_noise": True}
SRNN = {"input_dim": 256, "recurrent_dim": 128, "prior_dims": (64,), "emission_dims": (256,)}
SRNN_GUIDE = {"hidden_dims": (128,), "causal": False, "backward_dim": 128, "input_dim": 256}
DEEPAR = {"input_dim": 256, "recurrent_dim": 128, "emission_dims": (256,)}
HIERARCHICAL = {
    "global_dim": 32,
    "dim": 128,
    "num_layers": 2,
    "heads": 4,
    "window": 32,
    "forget": 0.9,
}

RECIPES = {
    "FrameVAE": Recipe(Design("FrameVAE")),
    "DKF": Recipe(Design("DKF", options=DKF, guide_options={"hidden_dims": (128,)})),
    "RVAE": Recipe(Design("RVAE")),
    "DSAE": Recipe(Design("DSAE", options={"global_dim": 16})),
    "KVAE": Recipe(Design("KVAE", options=KVAE, guide_options={"hidden_dims": (128,)})),
    "DeepAR": Recipe(Design("DeepAR", latent_dim=0, options=DEEPAR)),
    "STORN": Recipe(Design("STORN")),
    "VRNN": Recipe(Design("VRNN")),
    "SRNN": Recipe(
        Design("SRNN", options=SRNN, guide_options=SRNN_GUIDE, scheduled=True),
        epochs=90,
        batch_size=16,
    ),
    "HiTDVAE": Recipe(Design("HiTDVAE", options=HIERARCHICAL)),
    "LigHTDVAE": Recipe(Design("LigHTDVAE", options=HIERARCHICAL)),
}


def recipe_of(model: str, stft: STFT | None = None) -> Recipe:
    """Return the recipe of a model, for an STFT.

    Raises
    ------
    InputError
        No such model.
    """
    names = {name.lower(): name for name in RECIPES}
    if model.lower() not in names:
        raise unknown("model", model, RECIPES)
    recipe = RECIPES[names[model.lower()]]
    return recipe if stft is None else replace(recipe, design=replace(recipe.design, stft=stft))
