"""What the rivals of `benchmarks.sequence_rivals` are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

Moments = tuple[Tensor, Tensor]
Tensors = tuple[Tensor, ...]
State = tuple[Tensor, Tensor] | None


def layers(*sizes: int, last: bool = False, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Linear layers with an activation between them, and after them if ``last``."""
    parts: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        parts += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*parts[: None if last else -1])


def lstm(inputs: int, outputs: int) -> nn.LSTM:
    return nn.LSTM(inputs, outputs, batch_first=True)


def moments(raw: Tensor) -> Moments:
    """Mean and log variance."""
    mean, log_variance = raw.chunk(2, -1)
    return mean, log_variance


def before(x: Tensor) -> Tensor:
    """x_{t-1} at frame t."""
    return pad(x[:, :-1], (0, 0, 1, 0))


def kl(q: Moments, p: Moments | None = None) -> Tensor:
    """KL(q || p), p standard normal by default, summed over everything."""
    (m, v), (n, u) = q, p or (torch.zeros(()), torch.zeros(()))
    return 0.5 * (u - v + ((m - n) ** 2 + v.exp()) * (-u).exp() - 1).sum()


class Rival(nn.Module):
    """What all share: powers s (B, T, D) are Exponential(1 / v), log v affine in the emission.

    ``loss(s, e)`` is minus the bound, in nats a sequence, with noise e (B, T, L); KL divergences of
    frames are exact.
    """

    def __init__(self, likelihood_reader: Any, naive: bool = False) -> None:
        super().__init__()
        self.naive, reader = naive, likelihood_reader
        self.centre, self.spread = reader.centre.clone(), reader.spread.clone()
        self.floor: float = reader.floor

    def loss(self, s: Tensor, e: Tensor, code_noise: Tensor | None = None) -> Tensor:
        """Minus the bound of powers (B, T, D)."""
        seen = ((s + self.floor).log() - self.centre) / self.spread
        raw, rate = self.terms(seen, e) if code_noise is None else self.coded(seen, e, code_noise)
        v = torch.addcmul(self.centre, raw, self.spread).exp() + self.floor
        return ((v.log() + s / v).sum() + rate) / len(s)

    def terms(self, seen: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs (B, T, D), and KL divergence."""
        raise NotImplementedError

    def coded(self, seen: Tensor, e: Tensor, code_noise: Tensor) -> tuple[Tensor, Tensor]:
        """The same of a model with a code of the whole sequence."""
        raise NotImplementedError


def backward_read(net: nn.LSTM, x: Tensor) -> Tensor:
    out: Tensor = net(x.flip(1))[0].flip(1)
    return out


def each(net: nn.Module, *x: Tensor) -> Tensor:
    """A network called frame by frame: the naive way."""
    return torch.stack(
        [net(*frame) for frame in zip(*(part.unbind(1) for part in x), strict=True)], 1
    )


def each_step(net: nn.LSTM, x: Tensor) -> Tensor:
    """An LSTM called frame by frame: the naive way."""
    state, out = None, []
    for frame in x.unbind(1):
        h, state = net(frame[:, None], state)
        out.append(h)
    return torch.cat(out, 1)


def stacked(kept: list[Tensors]) -> list[Tensor]:
    return [torch.stack(part, 1) for part in zip(*kept, strict=True)]


def drawn(raw: Tensor, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z, mean, log variance."""
    mean, log_variance = raw.chunk(2, -1)
    return torch.addcmul(mean, (0.5 * log_variance).exp(), e), mean, log_variance


class Joined(nn.Module):
    """tanh layers over a context and an input, whose shares of the first layer are apart."""

    def __init__(self, context: int, inputs: int, *sizes: int) -> None:
        super().__init__()
        self.context = nn.Linear(context, sizes[0])
        self.input = nn.Linear(inputs, sizes[0], bias=False)
        self.head = nn.Sequential(*([nn.Tanh(), *layers(*sizes)] if len(sizes) > 1 else []))

    def forward(self, context: Tensor, x: Tensor) -> Tensor:
        """Outputs of both."""
        return self.step(self.context(context), x)

    def step(self, known: Tensor, x: Tensor) -> Tensor:
        """The same, with the context's share known."""
        out: Tensor = self.head(known + self.input(x))
        return out


def cell(net: Any, start: int = 0) -> Callable[..., Moments]:
    """One step of an LSTM for a loop: one product of (input, state), weights made ready once."""
    weight = torch.cat([net.weight_ih_l0[:, start:], net.weight_hh_l0], -1)
    bias = None if start else net.bias_ih_l0 + net.bias_hh_l0
    size = net.hidden_size

    def step(x: Tensor, state: Moments, gates: Tensor | None = None) -> Moments:
        whole = linear(torch.cat([x, state[0]], -1), weight, bias)
        doors, fresh, show = (whole if gates is None else whole + gates).split(
            [2 * size, size, size], -1
        )
        enter, keep = doors.sigmoid().chunk(2, -1)
        c = torch.addcmul(keep * state[1], enter, fresh.tanh())
        return show.sigmoid() * c.tanh(), c

    return step
