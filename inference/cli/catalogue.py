"""The registry of models: one table, and the one place where a model is registered.

From it come ``ppl stories``, the public names of `ppl_models` and `guides`, the tables of models in
the documentation (``python -m tools.tables`` writes both) and the tests that run over every pair.
Any other pair works with the engine without being listed here. The order is one to read them in.

Rows name classes and do not import them, so that a list of models does not wait for PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from inference.cli.story import Data, Story, load
from ppl_models.errors import unknown

VAES = "Variational autoencoders"
CLASSICS = "Classical models"
STATE_SPACE = "State-space models"
DYNAMICAL = "Dynamical VAEs"
TRACKING = "Tracking"
SOUND = "Sound"
MULTIMODAL = "Several modalities"


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


def _example(name: str) -> Callable[..., Any]:
    """Return a function of `inference.cli.examples`, imported when it is first called."""
    return lambda *given: load(f"inference.cli.examples:{name}")(*given)


def _width(argument: str) -> Callable[[Data], dict[str, Any]]:
    """Return a function that reads ``data_dim`` off the last axis of that argument."""
    return lambda data: {"data_dim": data[argument].shape[-1]}


def _bins(argument: str) -> Callable[[Data], dict[str, Any]]:
    """Return a function that reads ``bins`` off the last axis: real parts, imaginary parts."""
    return lambda data: {"bins": data[argument].shape[-1] // 2}


def _of(family: str, source: str, row: Callable[..., Story]) -> Callable[..., Story]:
    """Return a function that makes rows of one family and source, from path and sentence."""
    return lambda path, sentence, **more: row(path, family, source, sentence, **more)


# What a row has in common with others whose data have the same form.
_vectors = partial(Story, settings=_width("x"), simulate=_example("vectors"))
_sequences = partial(Story, settings=_width("s"), simulate=_example("sequences"))
_conditioned = partial(
    _vectors, settings=_example("conditioned_widths"), simulate=_example("conditioned")
)
_vae = _of(VAES, "004", _vectors)
_classical = _of(CLASSICS, "004", _vectors)
_state_space = _of(STATE_SPACE, "000/004", _sequences)
_dynamical = _of(DYNAMICAL, "000/004", _sequences)
_moving = _of(DYNAMICAL, "000/001", partial(_sequences, simulate=_example("boxes")))
_sound = partial(Story, family=SOUND, settings=_bins("s"), simulate=_example("sounds"))
_recordings = partial(_sound, settings=_bins("o"), parts=_example("sound_sources"))
_modalities = partial(
    Story,
    family=MULTIMODAL,
    source="004",
    settings=_example("widths"),
    simulate=_example("modalities"),
)

STORIES: tuple[Story, ...] = (
    _vae(
        "vae:VAE",
        "A network maps a standard normal latent vector to the parameters of the data.",
    ),
    _vae(
        "vae:VAE",
        "A VAE whose prior is a mixture of posteriors at K learned pseudo-inputs.",
        parts=_example("pseudo_data"),
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
        settings=_example("vocabulary"),
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
        adapt=_example("start_from_frames"),
    ),
    _state_space(
        "lds:LDS",
        "A Gaussian state moves by a matrix and is observed through another, both with noise.",
        adapt=_example("start_from_frames"),
    ),
    _state_space(
        "slds:SLDS",
        "An LDS whose matrices are switched by a Markov chain of K regimes.",
        adapt=_example("start_from_frames"),
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
    Story(
        "mixdvae:MixDVAE",
        TRACKING,
        "000/001",
        "Several sources, each a DVAE, observed as detections of unknown origin.",
        settings=_width("o"),
        simulate=_example("detections"),
        parts=_example("source_prior"),
    ),
    Story(
        "mot.birth_death_mixdvae:BirthDeathMixDVAE",
        TRACKING,
        "001",
        "MixDVAE for whole videos: objects that are born, hide and go, and a moving camera.",
        settings=lambda data: {},
        simulate=_example("scenes"),
        parts=_example("walker"),
    ),
    _sound(
        "audio.nmf:NMF",
        source="000/001",
        sentence="Power spectra as sums of a few fixed spectra, each louder and softer over time.",
        adapt=_example("start_from_powers"),
    ),
    _sound(
        "audio.temporal_nmf:TemporalNMF",
        source="001",
        sentence="NMF whose activations change slowly over time.",
        adapt=_example("start_from_powers"),
    ),
    _sound(
        "audio.hum:Hum",
        source="-",
        sentence="A sound whose spectrum never changes.",
        adapt=lambda pair, data: pair[0].start_from(data["s"], data.get("mask")),
    ),
    _recordings(
        "audio.bin_mixture:BinMixture",
        source="001",
        sentence="MixDVAE for sound: one of several sources owns each time-frequency bin.",
        simulate=_example("owned_bins"),
    ),
    _recordings(
        "audio.source_sum:SourceSum",
        source="000",
        sentence="A recording as the sum of several sources, each a DVAE, NMF or a hum.",
        simulate=_example("sums"),
    ),
    _sound(
        "audio.noisy_speech:NoisySpeech",
        source="000",
        sentence="Speech from a DVAE, integrated out of noise whose variances a network gives.",
        settings=_bins("x"),
        simulate=_example("noisy_speech"),
        parts=_example("speech_and_noise"),
        adapt=lambda pair, data: pair[0].noise.start_from(data["x"], data.get("mask")),
    ),
    _modalities(
        "cca:CCA",
        sentence="Sets of numbers share a Gaussian code, each with noise of its own: exact.",
        adapt=lambda pair, data: pair[0].start_from(**data),
    ),
    _modalities(
        "multimodal:JMVAE",
        sentence="Several modalities share one latent; a joint encoder, and one encoder for each.",
    ),
    _modalities(
        "multimodal:MVAE",
        sentence="Several modalities share one latent; the posterior is a product of experts.",
    ),
    _modalities(
        "multimodal:DMVAE",
        sentence="Several modalities share one latent, and each has a private one besides.",
    ),
    _modalities(
        "multimodal:MMVAE",
        sentence="Several modalities share one latent; the posterior is a mixture of experts.",
    ),
    _modalities(
        "multimodal:MoPoE",
        sentence="Several modalities share one latent; a mixture of products, one for each subset.",
    ),
)
