r"""A VAE of sentences: each token is drawn given the tokens before it and a code of the sentence.

::

    z ~ Normal(0, I)                                  the code: L latent numbers
    h_t = LSTM(h_{t-1}, [embedding(x_{t-1}), z])      a function of the tokens so far, and the code
    x_t ~ Categorical(readout(h_t))                   t = 1, ..., T

.. math:: p(x, z) = p(z) \prod_t p(x_t \mid x_1, \dots, x_{t-1}, z)

======  ===========  ===========
site    batch shape  event shape
======  ===========  ===========
``z``   (N,)         (L,)
``x``   (N,)         (T,)
======  ===========  ===========

An autoregressive decoder can model the sentences without a code. So this is the model in which
posterior collapse was first observed, and is studied.

References
----------
Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016, section 3.
He, Spokoyny, Neubig and Berg-Kirkpatrick, "Lagging Inference Networks and Posterior Collapse in
Variational Autoencoders", ICLR 2019, section 2 and appendix B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from pyro.poutine.util import is_validation_enabled
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_models.errors import InputError
from ppl_models.networks import LSTM


class TextVAE(nn.Module):
    """Sentences of tokens, each with a code; the decoder reads its own past (teacher forcing).

    Sites: ``z`` (L,) and ``x`` (T,), both in the plate ``data``.

    Parameters
    ----------
    num_tokens : int
        V: tokens are the numbers 0, ..., V - 1.
    latent_dim : int
        L, numbers of a code.
    length : int
        T of simulated sentences; data may have any length.
    embedding_dim, hidden_dim : int
        Sizes of a token's embedding, and of the decoder's state.
    """

    zero: Tensor

    def __init__(
        self,
        num_tokens: int = 20,
        latent_dim: int = 2,
        *,
        length: int = 10,
        embedding_dim: int = 16,
        hidden_dim: int = 32,
    ) -> None:
        super().__init__()
        self.num_tokens, self.latent_dim, self.length = num_tokens, latent_dim, length
        self.embedding_dim, self.hidden_dim = embedding_dim, hidden_dim
        self.embedding = nn.Embedding(num_tokens + 1, embedding_dim)  # the last one: a beginning
        self.recurrence = LSTM(embedding_dim + latent_dim, hidden_dim)
        self.readout = nn.Linear(hidden_dim, num_tokens)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None, size: int = 1) -> Tensor:
        """Score sentences ``x`` (N, T); without them, simulate ``size`` of ``length`` tokens.

        Parameters
        ----------
        x : Tensor of int64, optional
            Tokens.
        mask : Tensor of bool, optional
            (N, T), the tokens that exist: the first ones of each sentence. The others may be any
            number, and count for nothing.
        size : int
            N without ``x``.

        Raises
        ------
        InputError
            ``x`` or ``mask`` has another shape; tokens are no whole numbers, or (checked while
            Pyro's validation is on) not from 0 to V - 1.
        """
        if x is not None:
            check_tokens(x, mask, self.num_tokens)
            size = len(x)
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            return pyro.sample("x", self.observation(z, x, mask), obs=x)

    def observation(
        self, z: Tensor, x: Tensor | None = None, mask: Tensor | None = None
    ) -> TokenSequence:
        """Return p(x | z), of batch shape (...,) and event shape (T,), for codes z (..., L)."""
        length = self.length if x is None else x.shape[-1]
        return TokenSequence(
            lambda tokens: self.logits(tokens, z),
            lambda: self.generate(z, length),
            length,
            batch_shape=z.shape[:-1],
            mask=mask,
        )

    def logits(self, x: Tensor, z: Tensor) -> Tensor:
        """Return logits (..., T, V) of every token given those before it, for codes (..., L)."""
        start = torch.full_like(x[..., :1], self.num_tokens)
        past = self.embedding(torch.cat([start, x[..., :-1]], -1))
        shape = torch.broadcast_shapes(past.shape[:-2], z.shape[:-1])
        code = z.unsqueeze(-2).expand(*shape, x.shape[-1], self.latent_dim)
        return self.readout(self.recurrence(torch.cat([past.expand(*shape, -1, -1), code], -1)))

    @torch.no_grad()
    def generate(self, z: Tensor, length: int) -> Tensor:
        """Draw sentences (..., T) token by token, for codes z (..., L)."""
        state = self.recurrence.start(z.shape[:-1], z)
        token = torch.full(z.shape[:-1], self.num_tokens, device=z.device)
        tokens = []
        for _ in range(length):
            state = self.recurrence.step(torch.cat([self.embedding(token), z], -1), state)
            token = torch.distributions.Categorical(logits=self.readout(state[0])).sample()
            tokens.append(token)
        return torch.stack(tokens, -1)


class TokenSequence(TorchDistribution):
    """x_t given x_{1:t-1} is Categorical, for t = 1, ..., T: one site a sentence.

    Parameters
    ----------
    logits : callable
        From tokens (..., T), the logits (..., T, V) of each given those before it.
    draw : callable
        Gives sentences (*batch_shape, T).
    length : int
        T.
    batch_shape : tuple of int
    mask : Tensor of bool, optional
        (..., T), the tokens that exist.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        draw: Callable[[], Tensor],
        length: int,
        *,
        batch_shape: tuple[int, ...] = (),
        mask: Tensor | None = None,
    ) -> None:
        self.logits, self.draw, self.mask_tokens = logits, draw, mask
        super().__init__(torch.Size(batch_shape), torch.Size([length]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TokenSequence:
        """Return the same distribution in a larger batch shape.

        Raises
        ------
        NotImplementedError
            The shape is another than the codes', which decide it.
        """
        if torch.Size(batch_shape) != self.batch_shape:
            raise NotImplementedError("the codes decide the batch shape of sentences")
        return self

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw sentences (*sample_shape, *batch_shape, T)."""
        shape = torch.Size(sample_shape)
        draws = torch.stack([self.draw() for _ in range(shape.numel())])
        return draws.reshape(shape + self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of sentences (..., T): (...)."""
        mask = self.mask_tokens
        value = value if mask is None else torch.where(mask, value, 0)
        scores = self.logits(value).log_softmax(-1)
        shape = torch.broadcast_shapes(value.shape, scores.shape[:-1])
        tokens = scores.expand(*shape, -1).gather(-1, value.expand(shape).unsqueeze(-1)).squeeze(-1)
        return (tokens if mask is None else torch.where(mask, tokens, 0.0)).sum(-1)


def check_tokens(x: Tensor, mask: Tensor | None, num_tokens: int) -> None:
    """Raise an InputError for sentences that are no data of a `TextVAE`."""
    cure = "number the tokens from 0, and pad shorter sentences, with a mask of those that exist"
    whole = isinstance(x, Tensor) and x.dtype == torch.int64
    if not whole or x.ndim != 2 or not x.numel():
        found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(type(x))
        raise InputError(
            "x", found, "whole numbers (int64) of shape (N, T), a row a sentence", cure
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape):
        found = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise InputError("mask", found, f"booleans of shape {tuple(x.shape)}", cure)
    if is_validation_enabled():
        tokens = x if mask is None else x[mask]
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < num_tokens:
            found = f"tokens from {int(tokens.min())} to {int(tokens.max())}"
            raise InputError("x", found, f"tokens from 0 to {num_tokens - 1}", cure)
