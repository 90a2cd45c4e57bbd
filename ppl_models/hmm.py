r"""The hidden Markov model: each frame has one of K hidden states, and states form a Markov chain.

::

    z_1 -> z_2 -> ... -> z_T          z_1 ~ Categorical(initial)
     |      |             |           z_t ~ Categorical(transition[z_{t-1}])
    s_1    s_2           s_T          s_t ~ likelihood(emission[z_t])

.. math:: p(s, z) = p(z_1) \prod_{t > 1} p(z_t \mid z_{t-1}) \prod_t p(s_t \mid z_t)

The states are always summed, never sampled in inference, so the bound is the evidence. Two forms of
the model differ in how they sum:

============  ==================  ======================  ===========  =============================
form          site                batch shape             event shape  states are summed by
============  ==================  ======================  ===========  =============================
scan          ``s``               (B,)                    (T, D)       log2 T batched products of
                                                                       K x K matrices
enumerated    ``z_1`` ... z_T     (K, ...), enumerated    ()           ``TraceEnum_ELBO``, T steps
              ``s_1`` ... s_T     (B,)                    (D,)
============  ==================  ======================  ===========  =============================

The second is the readable reference, and slower: 11 times for K = 5 and T = 60, 23 times for
T = 300 (`python -m benchmarks.anchors`, on a CPU). A scan costs K^3 a frame, the forward recursion
of `HMM.log_evidence` K^2 in T steps: with K = 50 the latter is three times as fast.

References: L. R. Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 1989 (equations 19-40);
S. Sarkka and A. Garcia-Fernandez, "Temporal parallelization of Bayesian smoothers", IEEE TAC 2021
(the scan).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.ops.indexing import Vindex
from torch import Tensor, nn

from ppl_models.distributions import (
    FilteredStates,
    MarkovPath,
    ObservedStates,
    as_path,
    best_path,
    filter_states,
    smooth_states,
)
from ppl_models.inputs import check_count, check_form
from ppl_models.likelihoods import Gaussian, Likelihood, cluster, fit_emission, named
from ppl_models.sequences import Mask, SequenceModel, clean, ends, masked_frames, read_paths

LEAST = 1e-30
"""What expectation maximisation takes for a probability of zero, so that its logarithm is one."""


class HMM(SequenceModel):
    """A hidden Markov model of paths s (B, T, D), with K states.

    Parameters
    ----------
    data_dim : int
        D, numbers a frame.
    num_states : int
        K.
    likelihood : "gaussian", "bernoulli" or Likelihood
        The distribution of a frame given its state (`ppl_models.likelihoods`); ``"gaussian"`` has a
        mean and a standard deviation for every state and number (`Gaussian(data_dim, "decoded")`).
    form : "scan" or "enumerated"
        How states are summed; the densities are the same.

    Raises
    ------
    InputError
        An unknown likelihood or form, or a size that is no whole number from 1.
    """

    def __init__(
        self,
        data_dim: int = 2,
        num_states: int = 3,
        *,
        likelihood: str | Likelihood = "gaussian",
        form: Literal["scan", "enumerated"] = "scan",
    ) -> None:
        super().__init__()
        check_count("num_states", num_states)
        check_form(form, ("scan", "enumerated"))
        if likelihood == "gaussian":
            likelihood = Gaussian(data_dim, "decoded")
        self.likelihood = named(likelihood, data_dim)
        self.data_dim, self.num_states, self.form = data_dim, num_states, form
        self.initial_logits = nn.Parameter(torch.zeros(num_states))
        self.transition_logits = nn.Parameter(2 * torch.eye(num_states))  # states last a little
        self.emission = nn.Parameter(torch.randn(num_states, self.likelihood.raw_dim))
        if getattr(self.likelihood, "kind", "") == "decoded":
            nn.init.zeros_(self.emission[:, data_dim:])

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[None, Tensor]:
        """Sample one path in each place of the enclosing plates; return (None, s)."""
        if s is not None:
            s = clean(s, mask, observed)
            self.likelihood.check(s)
        if self.form == "enumerated":
            return None, self._frames(s, mask, observed, length)
        return None, pyro.sample("s", self.distribution(length, mask, observed), obs=s)

    def distribution(
        self, length: int, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> ObservedStates:
        """Return p(s), its states summed by a parallel scan, event (T, D).

        In single precision the scan takes transitions below exp(-80) for none, and may then find a
        path impossible; `log_evidence` does not. EM keeps them above `LEAST`, exp(-69).
        """
        logits = self.initial_logits, self.transition_logits
        return ObservedStates(*logits, self._emitted, length, mask, observed)

    def _frames(
        self, s: Tensor | None, mask: Tensor | None, observed: Tensor | None, length: int
    ) -> Tensor:
        """Sample or score the model frame by frame, as in the graph above."""
        logits, frames = self.initial_logits, []
        for t in pyro.markov(range(length)):
            exists: Any = True if mask is None else mask[:, t]
            with poutine.mask(mask=exists):
                chain = dist.Categorical(logits=logits)
                z = pyro.sample(f"z_{t + 1}", chain, infer={"enumerate": "parallel"})
                seen = None if observed is None else observed[:, t]
                distribution = masked_frames(self._emitted(z), None, seen)
                frames.append(
                    pyro.sample(f"s_{t + 1}", distribution, obs=None if s is None else s[:, t])
                )
                logits = Vindex(self.transition_logits)[z]
        return torch.stack(frames, 1)

    def observation(self, raw: Tensor) -> TorchDistribution:
        """Return p(s_t | z_t) from rows of emissions (..., raw_dim), event (D,)."""
        distribution: TorchDistribution = self.likelihood(raw)
        return distribution

    def _emitted(self, z: Tensor) -> TorchDistribution:
        """Return p(s_t | z_t) of states z (...)."""
        return self.observation(Vindex(self.emission)[z])

    # --- exact answers ----------------------------------------------------------------------------

    def log_evidence(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Tensor:
        """Return log p(s) (B,) in nats, by the forward algorithm."""
        return self._filtered(s, mask, observed).log_evidence.sum(-1)

    def filter(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Tensor:
        """Return p(z_t | s_{1:t}) (B, T, K); after the last frame that exists, its forecast."""
        return self._filtered(s, mask, observed).log_probs.exp()

    def smooth(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Tensor:
        """Return p(z_t | s_{1:T}) (B, T, K); after the last frame that exists, its forecast."""
        return self._smoothed(s, mask, observed)[0].exp()

    def posterior(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> MarkovPath:
        """Return p(z_{1:T} | s), batch (B,), event (T,): to draw paths of states from."""
        return as_path(*self._smoothed(s, mask, observed)[:2], mask)

    def impute(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> dist.MixtureSameFamily:
        """Return p(s_t | all numbers seen) of each frame by itself: batch (B, T), event (D,).

        Of a frame that was seen, it is the distribution of another one in its place.
        """
        states = dist.Categorical(self.smooth(s, mask, observed))
        return dist.MixtureSameFamily(states, self.observation(self.emission))

    def viterbi(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Tensor:
        """Return the most probable path of states (B, T), and after it the best way on."""
        return best_path(*self._logs(), self._frame_scores(s, mask, observed))

    def forecast(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        steps: int = 1,
    ) -> Forecast:
        """Return the distributions of the ``steps`` frames after the last one of each path.

        Raises
        ------
        InputError
            ``steps`` is no whole number from 1.
        """
        check_count("steps", steps)
        filtered = self.filter(s, mask, observed)
        last = filtered[:, -1] if mask is None else filtered[ends(mask)]
        transition, probs = self.transition_logits.softmax(-1), []
        for _ in range(steps):
            last = last @ transition
            probs.append(last)
        states = torch.stack(probs, 1)
        distribution = self.observation(self.emission)
        return Forecast(states, dist.MixtureSameFamily(dist.Categorical(states), distribution))

    # --- expectation maximisation -----------------------------------------------------------------

    @torch.no_grad()
    def start_from(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        seed: int = 0,
    ) -> HMM:
        """Initialise each state from a cluster of frames of s, by k-means++; return self.

        Numbers that were not seen are taken to be the mean of those seen in their place.
        """
        x, seen = self._checked(s, mask, observed)
        share = cluster(self.likelihood, x, seen, self.num_states, seed)
        self.emission.copy_(fit_emission(self.likelihood, x, share, seen, self.emission))
        return self

    @torch.no_grad()
    def em_step(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> float:
        """Take one step of Baum and Welch's; return log p(s), summed, from before it.

        E: p(z_t | s) and p(z_t, z_{t+1} | s). M: the counts' shares, and each state's weighted
        moments (Rabiner 1989, equations 40 and 52-53), of each number over the frames where it was
        seen. The evidence never falls.

        Raises
        ------
        InputError
            A likelihood that is not Bernoulli, Categorical or Gaussian(..., "decoded").
        """
        states, pairs, evidence = self._smoothed(s, mask, observed)
        weight, moves = states.exp(), pairs.exp()
        if mask is not None:
            weight, moves = weight * mask[..., None], moves * mask[:, 1:, None, None]
        x, seen = self._checked(s, mask, observed)
        self.emission.copy_(fit_emission(self.likelihood, x, weight, seen, self.emission))
        self.initial_logits.copy_(weight[:, 0].mean(0).clamp(LEAST).log())
        count = moves.sum((0, 1))
        share = (count / count.sum(-1, keepdim=True).clamp(LEAST)).clamp(LEAST).log()
        left = count.sum(-1, keepdim=True) > LEAST  # a state that is never left keeps its row
        self.transition_logits.copy_(torch.where(left, share, self.transition_logits))
        return evidence.sum().item()

    # --- parts ------------------------------------------------------------------------------------

    def _logs(self) -> tuple[Tensor, Tensor]:
        return self.initial_logits.log_softmax(-1), self.transition_logits.log_softmax(-1)

    def _frame_scores(self, s: Tensor, mask: Mask, observed: Mask) -> Tensor:
        """Return log p(s_t | z_t) (B, T, K) of what was seen, 0 in frames that do not exist."""
        x, seen = self._checked(s, mask, observed)
        numbers = None if observed is None else seen[..., None, :]
        frames = masked_frames(self.observation(self.emission), None, numbers)
        return clean(frames.log_prob(x[..., None, :]), mask)

    def _filtered(self, s: Tensor, mask: Mask, observed: Mask) -> FilteredStates:
        return filter_states(*self._logs(), self._frame_scores(s, mask, observed))

    def _smoothed(self, s: Tensor, mask: Mask, observed: Mask) -> tuple[Tensor, Tensor, Tensor]:
        filtered = self._filtered(s, mask, observed)
        states, pairs = smooth_states(filtered.log_probs, self._logs()[1])
        return states, pairs, filtered.log_evidence

    def _checked(self, s: Tensor, mask: Mask, observed: Mask) -> tuple[Tensor, Tensor]:
        """Return what `read_paths` does, checked to be data of this model."""
        s, seen = read_paths(s, mask, observed, self.data_dim)
        self.likelihood.check(s)
        return s, seen


class Forecast(NamedTuple):
    """Predictive distributions of H further frames."""

    states: Tensor
    """(B, H, K): p(z_{T+h} | s_{1:T})."""
    frames: dist.MixtureSameFamily
    """p(s_{T+h} | s_{1:T}), batch (B, H), event (D,), each frame by itself: has ``mean`` etc."""
