"""The registry of models: one table, and the one place where a model is registered.

From it come ``ppl stories``, the public names of `ppl_models` and `guides`, the tables of models in
the documentation (``python -m tools.tables`` writes both) and the tests that run over every pair.
Any other pair works with the engine without being listed here. The order is one to read them in.

Here are the rows of models of vectors and of sequences; those of videos, detections, sound, tables
and several modalities are in `inference.cli.catalogue_media`. Rows name classes and do not import
them, so that a list of models does not wait for PyTorch.
"""

from __future__ import annotations

from functools import partial

from inference.cli.catalogue_media import MEDIA
from inference.cli.catalogue_rows import (
    CLASSICS,
    DYNAMICAL,
    STATE_SPACE,
    VAES,
    example,
    of,
    width,
)
from inference.cli.story import Story
from ppl_models.errors import unknown


def find(name: str) -> Story:
    """Return the row of that name, in capitals or not.

    Raises
    ------
    InputError
        No row has it; the nearest name is suggested.
    """
    for story in STORIES:
        if story.name.lower() == name.lower():
            return story
    raise unknown("model", name, (story.name for story in STORIES))


# What a row has in common with others whose data have the same form.
_vectors = partial(Story, settings=width("x"), simulate=example("vectors"))
_sequences = partial(Story, settings=width("s"), simulate=example("sequences"))
_conditioned = partial(
    _vectors, settings=example("conditioned_widths"), simulate=example("conditioned")
)
_vae = of(VAES, "004", _vectors)
_classical = of(CLASSICS, "004", _vectors)
_state_space = of(STATE_SPACE, "000/004", _sequences)
_dynamical = of(DYNAMICAL, "000/004", _sequences)
_moving = of(DYNAMICAL, "000/001", partial(_sequences, simulate=example("boxes")))

STORIES: tuple[Story, ...] = (
    _vae(
        "vae:VAE",
        "A network maps a standard normal latent vector to the parameters of the data.",
    ),
    _vae(
        "vae:VAE",
        "A VAE whose prior is a mixture of posteriors at K learned pseudo-inputs.",
        parts=example("pseudo_data"),
        adapt=lambda pair, data: pair[0].prior.start_from(data["x"]),
        title="VampPrior",
    ),
    _conditioned(
        "cvae:CVAE",
        VAES,
        "003/004",
        "A VAE whose decoder and encoder are also given a condition c.",
    ),
    _conditioned(
        "ivae:IVAE",
        VAES,
        "004",
        "A VAE whose prior alone is given a condition: its sources are identifiable.",
    ),
    _vae(
        "hierarchical_vae:HierarchicalVAE",
        "A VAE with several levels of latents, each drawn given all levels above it.",
    ),
    _vectors(
        "text_vae:TextVAE",
        VAES,
        "004",
        "A sentence is generated token by token, given the tokens so far and one latent vector.",
        settings=example("vocabulary"),
    ),
    _classical(
        "ppca:PPCA",
        "Probabilistic PCA: a matrix times a standard normal latent vector, and Gaussian noise.",
    ),
    _classical(
        "ica:ICA",
        "As many independent heavy-tailed sources as dimensions, mixed by a matrix.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _classical(
        "made:MADE",
        "An autoregressive density: each dimension is drawn given those before it.",
    ),
    _classical(
        "rbm:RBM",
        "An energy-based density of data and hidden bits: a restricted Boltzmann machine.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _vectors(
        "gaussian_mixture:GaussianMixture",
        CLASSICS,
        "000/001",
        "Each datum is drawn from one of K Gaussians; which one is not observed.",
        adapt=lambda pair, data: pair[1].start_from(data["x"]),
    ),
    _vectors(
        "poisson_factors:PoissonFactors",
        CLASSICS,
        "-",
        "Poisson factor analysis: counts whose expected values are sums of non-negative factors.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _state_space(
        "hmm:HMM",
        "A Markov chain of K discrete states, each with its own distribution of frames.",
        adapt=example("start_from_frames"),
    ),
    _state_space(
        "lds:LDS",
        "A Gaussian state moves by a matrix and is observed through another, both with noise.",
        adapt=example("start_from_frames"),
    ),
    _state_space(
        "slds:SLDS",
        "An LDS whose matrices are switched by a Markov chain of K regimes.",
        adapt=example("start_from_frames"),
    ),
    _sequences(
        "linear_motion:LinearMotion",
        STATE_SPACE,
        "000/001",
        "Motion at a nearly constant velocity: an LDS with position and velocity as its state.",
        settings=lambda data: {},
    ),
    _sequences(
        "dvae.kvae:KVAE",
        STATE_SPACE,
        "000",
        "A VAE of each frame whose latents follow an LDS, its matrices a mixture of K.",
    ),
    _dynamical(
        "dvae.frame_vae:FrameVAE",
        "Each frame is a VAE by itself, independent of all others.",
    ),
    _dynamical(
        "dvae.dkf:DKF",
        "A deep Kalman filter: an LDS with networks in place of its matrices.",
    ),
    _dynamical(
        "dvae.storn:STORN",
        "An LSTM generates each frame from the frames before it and independent latents up to it.",
    ),
    _dynamical(
        "dvae.vrnn:VRNN",
        "STORN with latents whose prior depends on all frames and latents before them.",
    ),
    _moving(
        "dvae.srnn:SRNN",
        "An LSTM over past frames, and above it a chain of latents that drives the next frame.",
    ),
    _moving(
        "dvae.deepar:DeepAR",
        "An LSTM generates each frame from the frames before it, without latents.",
    ),
    _dynamical(
        "dvae.rvae:RVAE",
        "An LSTM generates each frame from independent latents up to it (or of all frames).",
    ),
    _dynamical(
        "dvae.dsae:DSAE",
        "One latent for what stays the same in a sequence, one a frame for what changes.",
    ),
    _dynamical(
        "dvae.transformer:HiTDVAE",
        "A VRNN with attention in place of the LSTM, and one global latent a sequence.",
    ),
    _dynamical(
        "dvae.transformer:LigHTDVAE",
        "HiTDVAE with one decoder for both latents and frames in place of two.",
    ),
    *MEDIA,
)
