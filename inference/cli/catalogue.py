"""The catalogue: stories that the command line knows by name, in the order in which to read them.

Model and guide are named, not imported, so that a list of them takes no time; any other pair works
with the engine without being listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference.cli.story import Story, load
from ppl_models.errors import unknown


def find(name: str) -> Story:
    """Return the story of that name, in capitals or not.

    Raises
    ------
    InputError
        No story has it; the nearest name is suggested.
    """
    for story in STORIES:
        if story.name.lower() == name.lower():
            return story
    raise unknown("story", name, (story.name for story in STORIES))


def _later(how: str) -> Callable[..., dict[str, Any]]:
    """Return a function of `inference.cli.examples`, imported when it is first called."""
    return lambda *given: load(f"inference.cli.examples:{how}")(*given)


def _of_vectors(file: str, name: str, sentence: str, source: str = "004", **more: Any) -> Story:
    """Return the entry of a story of vectors ``x`` (N, D), which its class simulates."""
    return Story(
        f"ppl_models.{file}:{name}",
        f"guides.{file}:{name}Guide",
        source,
        sentence,
        settings=lambda data: {"data_dim": data["x"].shape[-1]},
        simulate=lambda story, size: {"x": story(num_data=size)},
        **more,
    )


def _of_modalities(file: str, name: str, rest: str) -> Story:
    """Return the entry of a story of several modalities, which its class simulates."""
    return Story(
        f"ppl_models.{file}:{name}",
        f"guides.{file}:{name}Guide",
        "004",
        f"Several modalities of one thing, {rest}",
        settings=_later("widths"),
        simulate=_later("modalities"),
    )


def _of_states(file: str, name: str, sentence: str, **more: Any) -> Story:
    """Return the entry of a story of paths ``s`` (B, T, D), which its class simulates."""
    return Story(
        f"ppl_models.{file}:{name}",
        f"guides.{file}:{name}Guide",
        "000/004",
        sentence,
        settings=lambda data: {"data_dim": data["s"].shape[-1]},
        simulate=lambda story, size: {"s": story.eval()(size=size)},
        **more,
    )


STORIES = (
    _of_vectors("vae", "VAE", "A datum is what a network makes of a few standard normal numbers."),
    _of_vectors(
        "vae",
        "VAE",
        "A datum is told as by VAE, from a code like those of K learned data.",
        parts=_later("pseudo_data"),
        adapt=lambda pair, data: pair[0].prior.start_from(data["x"]),
        title="VampPrior",
    ),
    Story(
        "ppl_models.cvae:CVAE",
        "guides.cvae:CVAEGuide",
        "003/004",
        "A datum is what a network makes of a few normal numbers and of a condition.",
        settings=lambda data: {
            "data_dim": data["x"].shape[-1],
            "condition_dim": data["c"].shape[-1],
        },
        simulate=_later("conditioned"),
    ),
    _of_vectors(
        "hierarchical_vae",
        "HierarchicalVAE",
        "A datum is told from codes on several levels, each from those above it.",
    ),
    Story(
        "ppl_models.text_vae:TextVAE",
        "guides.text_vae:TextVAEGuide",
        "004",
        "A sentence is told token by token, from those before it and one code for all of it.",
        settings=lambda data: {"num_tokens": int(data["x"].max()) + 1},
        simulate=lambda story, size: {"x": story(num_data=size)},
    ),
    _of_vectors(
        "ppca", "PPCA", "A datum is a matrix times a few standard normal numbers, and noise."
    ),
    _of_vectors(
        "ica",
        "ICA",
        "A datum is a mixture of as many independent sources as it has numbers.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _of_vectors("made", "MADE", "A datum is told number by number, each from those before it."),
    _of_vectors(
        "rbm",
        "RBM",
        "A datum and hidden bits pull at each other, and low energies are common.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _of_vectors(
        "gaussian_mixture",
        "GaussianMixture",
        "A datum comes from one of K Gaussians, and nobody says which.",
        source="000/001",
        adapt=lambda pair, data: pair[1].start_from(data["x"]),
    ),
    _of_states(
        "hmm",
        "HMM",
        "Every frame of a path is of one of K kinds, and a kind tells which comes next.",
        adapt=lambda pair, data: pair[0].start_from(data["s"], data.get("mask")),
    ),
    _of_states(
        "lds",
        "LDS",
        "A hidden point moves by a matrix and noise, and a matrix tells each frame from it.",
        adapt=lambda pair, data: pair[0].start_from(data["s"], data.get("mask")),
    ),
    _of_states(
        "slds",
        "SLDS",
        "A path is told as by LDS, by one of K matrices at a time, and regimes last.",
        adapt=lambda pair, data: pair[0].start_from(data["s"], data.get("mask")),
    ),
    Story(
        "ppl_models.dvae.kvae:KVAE",
        "guides.dvae.kvae:KVAEGuide",
        "000",
        "A frame is what a network makes of a few numbers, which move by a mixture of K matrices.",
        settings=lambda data: {"data_dim": data["s"].shape[-1]},
        simulate=lambda story, size: {"s": story(size=size)},
    ),
    _of_states("dvae.frame_vae", "FrameVAE", "Every frame of a path is told as by VAE, by itself."),
    _of_states(
        "dvae.dkf",
        "DKF",
        "A path is told as by LDS, by networks in place of the matrices.",
    ),
    _of_states(
        "dvae.storn",
        "STORN",
        "A path is told frame by frame, each from its own past and from noise so far.",
    ),
    _of_states(
        "dvae.vrnn",
        "VRNN",
        "A path is told as by STORN, from latents that depend on all that was told before.",
    ),
    Story(
        "ppl_models.dvae.srnn:SRNN",
        "guides.dvae.srnn:SRNNGuide",
        "000/001",
        "A path is told frame by frame, each from its own past and from a latent path.",
        settings=lambda data: {"data_dim": data["s"].shape[-1]},
        simulate=_later("paths"),
    ),
    Story(
        "ppl_models.dvae.deepar:DeepAR",
        "guides.dvae.deepar:DeepARGuide",
        "000/001",
        "A path is told frame by frame from its own past alone.",
        settings=lambda data: {"data_dim": data["s"].shape[-1]},
        simulate=_later("paths"),
    ),
    _of_states(
        "dvae.rvae",
        "RVAE",
        "A path is told frame by frame, each from all the noise up to it.",
    ),
    _of_states(
        "dvae.dsae",
        "DSAE",
        "A path is told from what stays the same in all of it, and from what changes.",
    ),
    _of_states(
        "dvae.transformer",
        "HiTDVAE",
        "A path is told as by VRNN, with a code of the whole of it, and attention for the LSTM.",
    ),
    _of_states(
        "dvae.transformer",
        "LigHTDVAE",
        "A path is told as by HiTDVAE, by one decoder for latents and frames in place of two.",
    ),
    Story(
        "ppl_models.mixdvae:MixDVAE",
        "guides.mixdvae:MixDVAEGuide",
        "000/001",
        "Several paths are seen as detections in any order, and nobody says which is whose.",
        settings=lambda data: {"data_dim": data["o"].shape[-1]},
        simulate=_later("detections"),
        parts=_later("source_prior"),
    ),
    _of_modalities("multimodal", "JMVAE", "read together by one encoder, and apart by one each."),
    _of_modalities("multimodal", "MVAE", "each an expert on it, and what they say is multiplied."),
    _of_modalities("multimodal", "DMVAE", "which share a code and have a private one each."),
    _of_modalities("multimodal", "MMVAE", "its code read from any one of them at a time."),
    _of_modalities("multimodal", "MoPoE", "its code read from any subset of them at a time."),
)
