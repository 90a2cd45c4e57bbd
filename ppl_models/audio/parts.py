r"""Source parts: what one sound is, as complex bins of its short-time Fourier transform.

.. math:: s_{tf} \sim N_c(0, v_{tf}),

with variances v from latents, from past frames, or constant. A part is a module with ``data_dim``,
2 F for F bins (`ppl_models.likelihoods.to_bins`), and with

* ``path(length, s=None, mask=None, past=None)``, which samples its sites in the enclosing plates
  and returns latents and s: every dynamical VAE with `ComplexBins` as its likelihood, `NMF`,
  `TemporalNMF`, `Hum`, and a user's own;
* for the exact conditionals of `SourceSum` also ``variances(latents, s, mask)``, from values of its
  latent sites by name, v (..., T, F). Dynamical VAEs need none: `variances` reads theirs.

Dynamical VAEs are trained on powers, data (T, F) with the likelihood `ComplexGaussian`. `as_source`
makes them models of bins.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ppl_models.dvae import DynamicalVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods import ComplexBins, ComplexGaussian, bin_normal, to_bins
from ppl_models.mixdvae import mask_for
from ppl_models.sequences import Frames, clean, masked, sequence_plate

Part = TypeVar("Part", bound=nn.Module)
Latents = Mapping[str, Tensor]


def as_source(model: Part) -> Part:
    """Return a copy of a model of powers (T, F) that is a model of complex bins (T, 2 F).

    Its likelihood is `ComplexBins`, with the reader of `ComplexGaussian`: the log density is lower
    by log(pi) a bin. Past frames that it reads are those of the source: scheduled sampling is over.
    A model of bins comes back as a copy.

    Raises
    ------
    InputError
        The model's likelihood is of neither kind.
    """
    return as_source_pair(model, None)[0]


def as_source_pair(model: Part, guide: Any) -> tuple[Part, Any]:
    """Do as `as_source`; the guide that comes with it is a copy that reads the new model.

    Raises
    ------
    InputError
        As `as_source`.
    """
    copied: Any = copy.deepcopy((model, guide))
    source, reader = copied
    likelihood: Any = getattr(source, "likelihood", None)
    if isinstance(likelihood, ComplexGaussian):
        bins = ComplexBins.of(likelihood)
        source.likelihood, source.data_dim = bins, bins.data_dim
        source.sampling_probability, source.sampling = 0.0, None
    elif not isinstance(likelihood, ComplexBins):
        found, cure = type(likelihood).__name__, "build it with likelihood=ComplexGaussian(F)"
        raise InputError("model", f"likelihood {found}", "a model of power spectra", cure)
    return source, reader


def variances(
    part: nn.Module, latents: Latents, s: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the variances v (..., T, F) of a part's bins.

    Parameters
    ----------
    part : nn.Module
    latents : mapping
        Values of its latent sites, by name: z (..., T, L) and, where it has one, w (..., W).
    s : Tensor, optional
        (..., T, 2 F), which autoregressive parts read: v_t depends on rows before t.
    mask : Tensor of bool, optional
        (..., T), frames that exist.

    Raises
    ------
    InputError
        The part does not say what its variances are.
    """
    own = getattr(part, "variances", None)
    if own is not None:
        v: Tensor = own(latents, s, mask)
        return v
    model, z = of_bins(part), latents.get("z")
    if z is None:
        assert s is not None  # a model without latents reads past frames
        z = s.new_zeros(*s.shape[:-1], 0)
    read = s if model.autoregressive else None
    past = model.teacher_forced_past(read, z, latents.get(model.global_site), mask)
    raw = model.outputs(model.read(past), z, past)
    v = model.likelihood.variance(raw)  # type: ignore[operator]
    return v


def of_bins(part: nn.Module) -> DynamicalVAE:
    """Return the part, a dynamical VAE of complex bins.

    Raises
    ------
    InputError
        It is none.
    """
    if isinstance(part, DynamicalVAE) and isinstance(part.likelihood, ComplexBins):
        return part
    found = f"{type(part).__name__} without variances(latents, s, mask)"
    cure = "give it that method, or as_source(model) of a model of power spectra"
    raise InputError("parts", found, "a part that says its variances", cure)


def zero_mean(
    variance: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
) -> TorchDistribution:
    """Return the distribution of a sequence of bins, event (T, 2 F), of variances (..., T, F).

    ``mask`` (..., T) says which frames exist, ``observed`` (..., T, 2 F) which numbers were seen.
    """
    sequence: TorchDistribution = masked(bin_normal(variance), mask, observed).to_event(2)
    return sequence


def wiener(o: Tensor, variance: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (..., 2 F) and variance (..., F) of a source, given the sum o of it and the rest.

    The source is N_c(0, variance), the rest N_c(0, rest), independent; both variances (..., F).
    """
    share = variance / (variance + rest)
    return o * torch.cat([share, share], -1), share * rest


class Parts(nn.Module):
    """Some sources by name, each a part; what stories of several sources share.

    Parameters
    ----------
    parts : mapping of str to nn.Module
        At least one; the same module may stand under several names.

    Raises
    ------
    InputError
        There is none, a name has a ``/`` in it or is empty, or parts are of different bins.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.names = tuple(parts)
        _check_names(self.names)
        self.parts = nn.ModuleList(parts.values())
        dims = {name: getattr(part, "data_dim", None) for name, part in parts.items()}
        size = next(iter(dims.values()))
        if not isinstance(size, int) or size % 2 or len(set(dims.values())) > 1:
            found = ", ".join(f"data_dim {dim} of {name}" for name, dim in dims.items())
            cure = "give as_source(model) of models with one STFT"
            raise InputError("parts", found, "parts of 2 F numbers a frame, F the same", cure)
        self.data_dim, self.bins = size, size // 2

    def named_parts(self) -> Iterator[tuple[str, Any]]:
        """Yield names and parts, in order."""
        yield from zip(self.names, self.parts, strict=True)

    def __len__(self) -> int:
        """N, sources."""
        return len(self.names)


def _check_names(names: tuple[str, ...]) -> None:
    good = names and all(isinstance(name, str) and name and "/" not in name for name in names)
    if not good:
        cure = 'name each, as in {"speech": speech, "flute": flute}'
        raise InputError(
            "parts", repr(names), "names, without a slash, of one source or more", cure
        )


def read_bins(o: Tensor, bins: int, argument: str = "o") -> Tensor:
    """Return complex (B, T, F), or real (B, T, 2 F), bins as real ones.

    Raises
    ------
    InputError
        They are of another shape.
    """
    wanted = bins if o.is_complex() else 2 * bins
    if o.dim() == 3 and o.shape[-1] == wanted and 0 not in o.shape:
        return to_bins(o) if o.is_complex() else o
    found = f"{'complex' if o.is_complex() else 'real'} numbers of shape {tuple(o.shape)}"
    expected = f"complex (B, T, {bins}), or real and imaginary parts (B, T, {2 * bins})"
    cure = "pass STFT(wave)[None] of one recording, torch.stack of several, with the model's STFT"
    raise InputError(argument, found, expected, cure)


@contextmanager
def bins_plate(
    o: Tensor | None,
    mask: Tensor | None,
    bins: int,
    size: int = 1,
    length: int = 60,
    *,
    argument: str = "o",
) -> Iterator[Frames]:
    """Enter the plate ``data`` of B recordings o (B, T, F); yield them, zero where masked.

    Raises
    ------
    InputError
        They or their mask (B, T) are not as `read_bins` and `sequence_plate` ask.
    """
    o = None if o is None else read_bins(o, bins, argument)
    with sequence_plate(o, mask, 2 * bins, size, length, argument=argument) as frames:
        yield frames if o is None else frames._replace(s=clean(o, mask))


def mask_of(path: Any, mask: Tensor | None) -> dict[str, Tensor]:
    """Return what tells a part's ``path`` which frames (B, T) exist; nothing where all do.

    Raises
    ------
    InputError
        As `ppl_models.mixdvae.mask_for`.
    """
    return {"mask": mask} if mask is not None and mask_for(path, mask) else {}


def frames_of(v: Tensor, batch: torch.Size, length: int) -> Tensor:
    """Return variances (..., T or 1, F) as (*batch, T, F)."""
    return v.expand(*batch, length, v.shape[-1])
