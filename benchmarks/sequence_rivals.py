"""The dynamical VAEs in plain torch, as fast as their equations allow: rivals of the models here.

Written from the equations of the papers (see `ppl_models.dvae.frame_vae`, `frame_chains`, `dvae`,
`transformer_dvae`), without Pyro and without `torch.distributions`: networks, and a loss by hand.
Parameters come in the order of model and guide, so that `same_weights` can copy them; with the same
weights and noise a rival's loss is the model's (tests/benchmarks/test_sequence_speed.py).

Each rival does what a good programmer would: recurrent networks over known sequences are one fused
call, what does not depend on the sample is computed before the loop, features once. `naive` asks
for the other way: a frame's networks inside the loop, ``nn.LSTM`` called once a frame wherever it
reads latents or decodes frames; only what reads data alone, before the loop, is one call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from benchmarks.rival_parts import (
    Joined,
    Moments,
    Rival,
    State,
    Tensors,
    backward_read,
    before,
    cell,
    drawn,
    each,
    each_step,
    kl,
    layers,
    lstm,
    moments,
    stacked,
)


class PlainVAE(Rival):
    """A VAE of each frame by itself."""

    def __init__(self, reader: Any, d: int, n: int, naive: bool = False) -> None:
        super().__init__(reader, naive)
        self.emission, self.encoder = layers(n, 128, d), layers(d, 128, 2 * n)

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergence."""
        z, *q = drawn(self.encoder(seen), e)
        return self.emission(z), kl((q[0], q[1]))


class PlainSTORN(Rival):
    """STORN: all LSTMs read known sequences."""

    def __init__(self, reader: Any, d: int, n: int, naive: bool = False) -> None:
        super().__init__(reader, naive)
        self.reader, self.latent_reader = layers(d, 256, last=True), layers(n, 32, 64, last=True)
        self.recurrence, self.emission = lstm(320, 128), layers(128, 256, d)
        self.guide_reader, self.guide_recurrence = layers(d, 256, last=True), lstm(256, 128)
        self.encoder = layers(128, 64, 32, 2 * n)

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergence."""
        g = self.guide_recurrence(self.guide_reader(seen))[0]
        z, *q = drawn(self.encoder(g), e)
        read = torch.cat([self.reader(before(seen)), self.latent_reader(z)], -1)
        h = each_step(self.recurrence, read) if self.naive else self.recurrence(read)[0]
        return self.emission(h), kl((q[0], q[1]))


class PlainDKF(Rival):
    """DKF: z feeds the guide's combiner."""

    def __init__(self, reader: Any, d: int, n: int, naive: bool = False) -> None:
        super().__init__(reader, naive)
        self.gate, self.proposal = (layers(n, 16, n, activation=nn.ReLU) for _ in range(2))
        self.linear, self.spreading = nn.Linear(n, n), nn.Linear(n, n)
        self.emission = layers(n, 32, 64, 128, 256, d)
        self.reader, self.backward = layers(d, 256, last=True), lstm(256, 128)
        self.latent_reader, self.encoder = layers(n, 32, 128, last=True), layers(128, 32, 2 * n)

    def prior(self, z: Tensor) -> Moments:
        """Mean and log variance of z_t given z_{t-1}."""
        gate, proposal = self.gate(z).sigmoid(), self.proposal(z)
        variance = softplus(self.spreading(proposal.relu())) + 1e-6
        return torch.lerp(self.linear(z), proposal, gate), variance.log()

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergence."""
        g = backward_read(self.backward, self.reader(seen))
        z, kept = torch.zeros_like(e[:, 0]), list[Tensors]()
        if self.naive:
            raws, priors = list[Tensor](), list[Tensors]()
            for frame, noise in zip(g.unbind(1), e.unbind(1), strict=True):
                priors.append(self.prior(z))
                z, *q = drawn(self.encoder((self.latent_reader(z) + frame) / 2), noise)
                kept.append((z, *q))
                raws.append(self.emission(z))
            _, mean, log_variance = stacked(kept)
            n, u = stacked(priors)
            return torch.stack(raws, 1), kl((mean, log_variance), (n, u))
        first, *rest = list[Any](self.encoder)
        known, half = first(g / 2), first.weight / 2
        for frame, noise in zip(known.unbind(1), e.unbind(1), strict=True):
            raw = frame + linear(self.latent_reader(z), half)
            for layer in rest:
                raw = layer(raw)
            kept.append(drawn(raw, noise))
            z = kept[-1][0]
        z, mean, log_variance = stacked(kept)
        return self.emission(z), kl((mean, log_variance), self.prior(before(z)))


class PlainRVAE(Rival):
    """RVAE, causal: z feeds an LSTM of the guide."""

    def __init__(self, reader: Any, d: int, n: int, naive: bool = False) -> None:
        super().__init__(reader, naive)
        self.recurrence, self.emission = lstm(n, 128), nn.Linear(128, d)
        self.backward, self.guide_recurrence = lstm(d, 128), lstm(n, 128)
        self.context, self.input = nn.Linear(128, 2 * n), nn.Linear(128, 2 * n, bias=False)

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergence."""
        g, z, kept = backward_read(self.backward, seen), torch.zeros_like(e[:, 0]), list[Tensors]()
        if self.naive:
            state: State = None
            for frame, noise in zip(g.unbind(1), e.unbind(1), strict=True):
                h, state = self.guide_recurrence(z[:, None], state)
                kept.append(drawn(self.context(frame) + self.input(h[:, 0]), noise))
                z = kept[-1][0]
            z, mean, log_variance = stacked(kept)
            raw = each(self.emission, each_step(self.recurrence, z))
            return raw, kl((mean, log_variance))
        step = cell(self.guide_recurrence)
        given = (z.new_zeros(len(z), 128),) * 2
        for frame, noise in zip(self.context(g).unbind(1), e.unbind(1), strict=True):
            given = step(z, given)
            kept.append(drawn(frame + self.input(given[0]), noise))
            z = kept[-1][0]
        z, mean, log_variance = stacked(kept)
        return self.emission(self.recurrence(z)[0]), kl((mean, log_variance))


class PlainSRNN(Rival):
    """SRNN: z feeds the guide's encoder."""

    def __init__(self, reader: Any, d: int, n: int, naive: bool = False) -> None:
        super().__init__(reader, naive)
        self.reader, self.recurrence = layers(d, 256, last=True), lstm(256, 128)
        self.emission = Joined(128, n, 256, d)
        self.prior = Joined(128, n, 64, 32, 2 * n)
        self.guide_reader, self.backward = layers(d, 256, last=True), lstm(256, 128)
        self.encoder = Joined(128, n + 128, 64, 32, 2 * n)

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergence."""
        read = self.reader(before(seen))
        h = each_step(self.recurrence, read) if self.naive else self.recurrence(read)[0]
        g = backward_read(self.backward, self.guide_reader(seen))
        z, kept, encoder = torch.zeros_like(e[:, 0]), list[Tensors](), self.encoder
        of_z, of_h = encoder.input.weight.split([z.shape[-1], 128], -1)
        known = g if self.naive else encoder.context(g) + linear(h, of_h)
        for frame, state, noise in zip(known.unbind(1), h.unbind(1), e.unbind(1), strict=True):
            if self.naive:
                raw = encoder(frame, torch.cat([z, state], -1))
            else:
                raw = encoder.head(frame + linear(z, of_z))
            kept.append(drawn(raw, noise))
            z = kept[-1][0]
        z, mean, log_variance = stacked(kept)
        if self.naive:
            p = each(self.prior, h, before(z))
            return each(self.emission, h, z), kl((mean, log_variance), moments(p))
        p = self.prior(h, before(z))
        return self.emission(h, z), kl((mean, log_variance), moments(p))


class PlainVRNN(Rival):
    """VRNN: z feeds the LSTM that model and guide share."""

    def __init__(self, reader: Any, d: int, n: int, naive: bool = False) -> None:
        super().__init__(reader, naive)
        self.reader, self.latent_reader = layers(d, 256, last=True), layers(n, 32, 64, last=True)
        self.recurrence, self.prior = lstm(320, 128), nn.Linear(128, 2 * n)
        self.emission, self.encoder = Joined(128, 64, d), Joined(256, 128, 2 * n)

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergence."""
        z, kept = torch.zeros_like(e[:, 0]), list[Tensors]()
        if self.naive:
            return self.looped(seen, e, z)
        read, first = self.reader(seen), self.reader(torch.zeros_like(seen[:, :1]))
        lagged = torch.cat([first, read[:, :-1]], 1)
        net: Any = self.recurrence
        bias = net.bias_ih_l0 + net.bias_hh_l0
        known = linear(lagged, net.weight_ih_l0[:, :256], bias).unbind(1)
        step, given = cell(net, 256), (z.new_zeros(len(z), 128),) * 2
        frames = zip(known, self.encoder.context(read).unbind(1), e.unbind(1), strict=True)
        for gates, frame, noise in frames:
            given = step(self.latent_reader(z), given, gates)
            z, *q = drawn(self.encoder.step(frame, given[0]), noise)
            kept.append((z, *q, given[0]))
        z, mean, log_variance, h = stacked(kept)
        rate = kl((mean, log_variance), moments(self.prior(h)))
        return self.emission(h, self.latent_reader(z)), rate

    def looped(self, seen: Tensor, e: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """`terms`, with all of a frame in one loop."""
        state: State = None
        last, kept = torch.zeros_like(seen[:, 0]), list[Tensors]()
        for frame, noise in zip(seen.unbind(1), e.unbind(1), strict=True):
            read = torch.cat([self.reader(last), self.latent_reader(z)], -1)
            out, state = self.recurrence(read[:, None], state)
            h, last = out[:, 0], frame
            z, *q = drawn(self.encoder(self.reader(frame), h), noise)
            kept.append((*q, self.prior(h), self.emission(h, self.latent_reader(z))))
        mean, log_variance, p, raw = stacked(kept)
        return raw, kl((mean, log_variance), moments(p))
