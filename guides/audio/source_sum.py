r"""The guide of SourceSum: encoders for latents, and the exact posterior for the sources.

.. math::
    q(z, s \mid o) = \prod_n q(z_n \mid \hat s_n) \; \prod_t \prod_n
    p(s_{n,t} \mid s_{1:n-1,t}, s_{\cdot,<t}, z, o_t)

z_n is sampled by the guide of part n, which reads an estimate of that source's power: ``start``,
or, as the papers do, the recording itself. The sources given z and o are Gaussian; they are drawn
one after another, each by the Wiener filter of what those before have left,

.. math:: s_n \mid r_n \sim N_c\Big(\frac{v_n}{v_n + R_n} r_n, \frac{v_n R_n}{v_n + R_n}\Big),
    \qquad r_n = o - \sum_{m<n} s_m, \quad R_n = \sum_{m>n} v_m + \mathrm{noise}.

Where a part is autoregressive, v_t depends on s_{<t}, and all are drawn frame by frame. Then
log p(o, s | z) - log q(s | z, o) = sum_t log N_c(o_t; 0, sum_n v_n,t + noise) at every draw
(`SourceSum.log_marginal`): the sources add no variance to the ELBO. In single precision, rounding
against a small noise leaves an error of some nats a recording; in double precision it is small.

References: those of `ppl_models.audio.source_sum`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro.contrib.autoname import scope
from torch import Tensor

from guides.audio.parts import PartsGuide, latents_of, with_power
from guides.base import needed
from ppl_models.audio import SourceSum, bins_plate, frames_of, of_bins, variances, wiener
from ppl_models.distributions import AutoregressiveNormal
from ppl_models.errors import InputError
from ppl_models.sequences import Moments, clean


class SourceSumGuide(PartsGuide[SourceSum]):
    """q(z, s | o) of `SourceSum`.

    Parameters
    ----------
    model : SourceSum
    guides : mapping of str to nn.Module
        Of each part the guide, by the model's names.

    Raises
    ------
    InputError
        As `PartsGuide`.
    """

    def forward(
        self, o: Tensor | None = None, mask: Tensor | None = None, start: Tensor | None = None
    ) -> Tensor:
        """Sample latents and sources of B recordings, as the model takes them.

        Return s (..., B, N, T, 2 F).

        Parameters
        ----------
        o : Tensor
            (B, T, F) complex, or (B, T, 2 F).
        mask : Tensor of bool, optional
            (B, T), frames that exist.
        start : Tensor, optional
            (B, N, T, F): the power of each source, as encoders read it. By default that of o.

        Raises
        ------
        InputError
            ``o`` is missing, or one of them has another shape.
        """
        o = needed(o, "o", "recordings (B, T, F)")
        with bins_plate(o, mask, self.model.bins) as frames:
            bins = frames.s
            assert bins is not None
            latents = [
                latents_of(guide, estimate, mask, prefix=name)
                for (name, guide), estimate in zip(
                    self.named_guides(), self._estimates(bins, start), strict=True
                )
            ]
            given = SourcesGiven(self.model, latents, bins, mask)
            for n, name in enumerate(self.model.names):
                with scope(prefix=name):
                    given.s[n] = pyro.sample("s", given.source(n))
        return torch.stack(given.drawn, -3)

    def _estimates(self, o: Tensor, start: Tensor | None) -> list[Tensor]:
        """Return bins (B, T, 2 F) for each encoder to read."""
        if start is None:
            return [o] * len(self.model)
        wanted = (len(o), len(self.model), o.shape[1], self.model.bins)
        if start.shape != wanted:
            cure = "give one power a source and bin, or leave it out"
            raise InputError("start", f"shape {tuple(start.shape)}", str(wanted), cure)
        return list(with_power(start).unbind(1))


class SourcesGiven:
    """p(s_1, ..., s_N | z, o), as one distribution a source.

    Parameters
    ----------
    model : SourceSum
    latents : sequence of mappings
        Of each part the values of its latents, by name.
    o : Tensor
        (..., T, 2 F).
    mask : Tensor of bool, optional
        (..., T), frames that exist.

    Attributes
    ----------
    s : list of Tensor or None
        Values of the sources (..., T, 2 F), set as they are sampled.
    """

    def __init__(
        self,
        model: SourceSum,
        latents: list[dict[str, Tensor]],
        o: Tensor,
        mask: Tensor | None = None,
    ) -> None:
        self.model, self.latents, self.mask = model, latents, mask
        self.o = clean(o, mask)
        self.s: list[Tensor | None] = [None] * len(model)
        self._whole: list[Tensor] | None = None
        self._read: tuple[list[Tensor | None], list[Tensor]] | None = None

    @property
    def drawn(self) -> list[Tensor]:
        """The sources, once all are sampled."""
        return [s for s in self.s if s is not None]

    def source(self, n: int) -> AutoregressiveNormal:
        """Return the distribution of source n, given those before it: event (T, 2 F)."""

        def moments(value: Tensor) -> Moments:
            values = [value if m == n else s for m, s in enumerate(self.s)]
            return self._moments(n, values)

        def draw(batch: torch.Size) -> Tensor:
            return self._draw(n, batch)

        shape, batch = (self.o.shape[-2], self.o.shape[-1]), tuple(self.o.shape[:-2])
        return AutoregressiveNormal(moments, draw, shape, batch_shape=batch, mask=self.mask)

    def variances(self, values: list[Tensor | None]) -> list[Tensor]:
        """Return v (..., T, F) of each part, given the values of all that are autoregressive."""
        if self._read is not None and all(
            a is b for a, b in zip(self._read[0], values, strict=True)
        ):
            return self._read[1]
        parts = zip(self._parts(), self.latents, values, strict=True)
        return [variances(part, latents, s, self.mask) for part, latents, s in parts]

    def _parts(self) -> list[Any]:
        return [part for _, part in self.model.named_parts()]

    def _moments(self, n: int, values: list[Tensor | None]) -> Moments:
        """Return mean and scale (..., T, 2 F) of source n, given the values of those before."""
        before = [s for s in values[:n] if s is not None]
        return self._given(n, before, self.variances(values), self.o)

    def _given(self, n: int, before: list[Tensor], v: list[Tensor], o: Tensor) -> Moments:
        rest = sum(v[n + 1 :], torch.zeros_like(v[n])) + self.model.noise
        mean, variance = wiener(o - sum(before, torch.zeros_like(o)), v[n], rest)
        scale = (0.5 * variance).sqrt()
        return mean, torch.cat([scale, scale], -1)

    def _draw(self, n: int, batch: torch.Size) -> Tensor:
        if any(getattr(part, "autoregressive", False) for part in self._parts()):
            if self._whole is None or self._whole[0].shape[:-2] != batch or not self._follows(n):
                self._whole = self._rolled(batch, self.s[:n])
            return self._whole[n]
        return _drawn(*self._moments(n, self.s), batch)

    def _follows(self, n: int) -> bool:
        """Whether the sources before n took the values that were drawn along with n's."""
        assert self._whole is not None
        return all(a is b for a, b in zip(self.s[:n], self._whole, strict=False))

    def _rolled(self, batch: torch.Size, known: list[Tensor | None]) -> list[Tensor]:
        """Draw all sources frame by frame, but for the first ones, if known."""
        length, o = self.o.shape[-2], self.o.expand(*batch, *self.o.shape[-2:])
        steps = [
            _Steps(part, latents, batch, length, self.mask)
            for part, latents in zip(self._parts(), self.latents, strict=True)
        ]
        frames = list[list[Tensor]]()
        kept = list[list[Tensor]]()
        for t in range(length):
            v, now = [step.variance(t) for step in steps], list[Tensor]()
            for n, step in enumerate(steps):
                given = known[n] if n < len(known) else None
                if given is None:
                    s = _drawn(*self._given(n, now, v, o[..., t : t + 1, :]), batch)
                else:
                    s = given[..., t : t + 1, :].expand(*batch, 1, -1)
                now.append(s)
                step.go_on(t, s)
            frames.append(now)
            kept.append(v)
        whole = [torch.cat(parts, -2) for parts in zip(*frames, strict=True)]
        whole[: len(known)] = [s for s in known if s is not None]
        v = [torch.cat(parts, -2) for parts in zip(*kept, strict=True)]
        self._read = list(whole), v
        return whole


def _drawn(mean: Tensor, scale: Tensor, batch: torch.Size) -> Tensor:
    shape = *batch, *mean.shape[-2:]
    noise = torch.randn(shape, dtype=mean.dtype, device=mean.device)
    return torch.addcmul(mean, scale, noise)


class _Steps:
    """The variances of one part, frame by frame."""

    def __init__(
        self,
        part: Any,
        latents: Mapping[str, Tensor],
        batch: torch.Size,
        length: int,
        mask: Tensor | None,
    ) -> None:
        self.model = of_bins(part) if getattr(part, "autoregressive", False) else None
        if self.model is None:
            self.known = frames_of(variances(part, latents, None, mask), batch, length)
            return
        w = latents.get(self.model.global_site)
        self.past = self.model.start(batch, None if w is None else w.expand(*batch, w.shape[-1]))
        z = latents.get("z")
        z = self.past.z.new_zeros(length, 0) if z is None else z
        self.z = z.expand(*batch, *z.shape[-2:])

    def variance(self, t: int) -> Tensor:
        """Return v_t (..., 1, F), given the frames so far."""
        if self.model is None:
            return self.known[..., t : t + 1, :]
        h = self.model.read(self.past)
        raw = self.model.outputs(h, self.z[..., t : t + 1, :], self.past)
        v: Tensor = self.model.likelihood.variance(raw)  # type: ignore[operator]
        return v

    def go_on(self, t: int, s: Tensor) -> None:
        """Go on after frame s_t (..., 1, 2 F)."""
        if self.model is not None:
            self.past = self.model.after(self.past, self.z[..., t : t + 1, :], s)
