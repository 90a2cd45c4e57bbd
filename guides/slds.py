"""The guide of the switching linear dynamical system: regimes, sampled by Kim's filter."""

from __future__ import annotations

import pyro
import torch
from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.distributions import MarkovPath, as_path, run_back
from ppl_models.sequences import Mask, read_paths
from ppl_models.slds import SLDS


class SLDSGuide(ReadingGuide[SLDS]):
    r"""An approximate posterior of the regimes of :class:`ppl_models.slds.SLDS`.

    It uses the model's own parameters, and has none. Kim's filter keeps K Gaussians a frame: each
    is moved by all K regimes, and of the K^2 that result, those of one regime are merged into one
    with their mean and covariance. Its weights make a Markov chain that is sampled backwards,

    .. math:: q(k) = q(k_T) \prod_{t < T} q(k_t \mid k_{t+1}), \qquad
              q(k_t = i \mid k_{t+1} = j) \approx p(k_t = i \mid k_{t+1} = j, s_{1:t+1}).

    Two approximations are made: the merging, and that k_t is independent of frames after t + 1
    given k_{t+1}. The bound is below the evidence by KL(q(k) || p(k | s)), zero for K = 1.

    No gradient passes through q, so the model's gradient is that of a bound with q fixed: unbiased,
    of low variance, without a score function. Learning is thus a variational EM whose E step is
    Kim's filter.

    Where the model sums its regimes (``form="enumerated"``) the guide samples nothing.

    C.-J. Kim, "Dynamic linear models with Markov-switching", J. Econometrics 60, 1994, section 2;
    the merging is the generalised pseudo-Bayes filter of order 2.

    Parameters
    ----------
    model : SLDS
        Read by reference.
    """

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor | None:
        """Sample k (B, T) for paths s (B, T, D), or nothing where the model sums its regimes."""
        if self.model.form == "enumerated":
            return None
        s = needed(s)
        posterior = self.regimes(s, mask, observed)
        with pyro.plate("data", len(s), dim=-1):
            return pyro.sample("k", posterior)

    @torch.no_grad()
    def regimes(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> MarkovPath:
        """Return q(k_{1:T} | s), batch (B,), event (T,); time grows as T K^2."""
        return as_path(*self._smoothed(s, mask, observed), mask)

    @torch.no_grad()
    def smooth(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Tensor:
        """Return q(k_t | s) (B, T, K); after a path's last frame, of its forecast."""
        return self._smoothed(s, mask, observed)[0].exp()

    def _smoothed(self, s: Tensor, mask: Mask, observed: Mask) -> tuple[Tensor, Tensor]:
        """Filter, and return the log marginals of states and pairs that `run_back` makes of it."""
        model = self.model
        frames, seen = read_paths(s, mask, observed, model.data_dim)
        switch = model.switch_logits.log_softmax(-1)
        logits = model.regime_logits.log_softmax(-1).expand(len(s), -1)
        mean, cov, _ = model.update(*model.start(), frames[:, 0], seen[:, 0])
        mean, cov = (x[:, None].expand(-1, len(switch), *x.shape[1:]) for x in (mean, cov))
        past = [logits.new_zeros(len(s), 0, *switch.shape)]
        for t in range(1, s.shape[1]):
            means, covs, fit = model.branch(mean, cov, frames[:, t, None], seen[:, t, None])
            joint = logits[..., None] + switch + fit  # (B, from, to)
            back = joint.log_softmax(1)
            logits = joint.logsumexp(1).log_softmax(-1)
            share = back.exp()[..., None]
            mean = (share * means).sum(1)
            apart = (means - mean[:, None])[..., None]
            cov = (share[..., None] * (covs + apart @ apart.mT)).sum(1)
            past.append(back[:, None])
        return run_back(logits, torch.cat(past, 1))
