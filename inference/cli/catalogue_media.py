"""Rows of the registry: models of videos, detections, sound, tables and several modalities."""

from __future__ import annotations

from functools import partial

from inference.cli.catalogue_rows import (
    MULTIMODAL,
    SOUND,
    TABLES,
    TRACKING,
    VIDEO,
    bins,
    example,
    of,
    width,
)
from inference.cli.story import Story

_video = of(
    VIDEO, "003/004", partial(Story, settings=example("frame_shape"), simulate=example("videos"))
)
_sound = partial(Story, family=SOUND, settings=bins("s"), simulate=example("sounds"))
_recordings = partial(_sound, settings=bins("o"), parts=example("sound_sources"))
_audiogram = partial(
    Story, family=TABLES, source="002", settings=lambda data: {}, simulate=example("tables")
)
_table = partial(
    Story,
    family=TABLES,
    source="002",
    settings=width("x"),
    simulate=example("tables"),
    adapt=lambda pair, data: pair[0].start_from(data["x"], data.get("mask")),
)
_modalities = partial(
    Story,
    family=MULTIMODAL,
    source="004",
    settings=example("widths"),
    simulate=example("modalities"),
)

MEDIA: tuple[Story, ...] = (
    _video(
        "video.sv2p:SV2P",
        "A frame is the pixels of the one before it, moved by kernels that a latent chooses.",
    ),
    _video(
        "video.svg:SVGFP",
        "LSTMs generate the code of each frame from the one before it and independent latents.",
    ),
    _video(
        "video.svg:SVGLP",
        "SVG-FP with latents whose prior is learned: an LSTM over the frames before them.",
    ),
    _video(
        "video.srvp:SRVP",
        "A state moves by residual steps driven by noise, and paints frames with a fixed content.",
    ),
    Story(
        "mixdvae:MixDVAE",
        TRACKING,
        "000/001",
        "Several sources, each a DVAE, observed as detections of unknown origin.",
        settings=width("o"),
        simulate=example("detections"),
        parts=example("source_prior"),
    ),
    Story(
        "mot.birth_death_mixdvae:BirthDeathMixDVAE",
        TRACKING,
        "001",
        "MixDVAE for whole videos: objects that are born, hide and go, and a moving camera.",
        settings=lambda data: {},
        simulate=example("scenes"),
        parts=example("walker"),
    ),
    _sound(
        "audio.nmf:NMF",
        source="000/001",
        sentence="Power spectra as sums of a few fixed spectra, each louder and softer over time.",
        adapt=example("start_from_powers"),
    ),
    _sound(
        "audio.temporal_nmf:TemporalNMF",
        source="001",
        sentence="NMF whose activations change slowly over time.",
        adapt=example("start_from_powers"),
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
        simulate=example("owned_bins"),
    ),
    _recordings(
        "audio.source_sum:SourceSum",
        source="000",
        sentence="A recording as the sum of several sources, each a DVAE, NMF or a hum.",
        simulate=example("sums"),
    ),
    _sound(
        "audio.noisy_speech:NoisySpeech",
        source="000",
        sentence="Speech from a DVAE, integrated out of noise whose variances a network gives.",
        settings=bins("x"),
        simulate=example("noisy_speech"),
        parts=example("speech_and_noise"),
        adapt=lambda pair, data: pair[0].noise.start_from(data["x"], data.get("mask")),
    ),
    _table(
        "acquisition.partial_vae:PartialVAE",
        sentence="Rows of a table from a latent, whichever of their columns were observed.",
    ),
    _table(
        "acquisition.not_miwae:NotMIWAE",
        sentence="A PartialVAE whose values may be missing because of what they are.",
        source="-",
    ),
    _audiogram(
        "acquisition.archetypal_audiogram:ArchetypalAudiogram",
        sentence="Hearing thresholds as a blend of a few archetypes, with the exact posterior.",
    ),
    _audiogram(
        "acquisition.gp_audiogram:GPAudiogram",
        sentence="One ear's thresholds as a Gaussian process over log frequency: exact.",
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
