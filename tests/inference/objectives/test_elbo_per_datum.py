from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.distributions import kl_divergence

from inference.objectives.objective import Objective
from inference.randomness import seeded
from tests import pairs


def data(*shape: int) -> torch.Tensor:
    with seeded(3):
        return torch.randn(*shape, dtype=torch.float64)


def test_mean_field_bound_is_the_closed_form() -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    kl = kl_divergence(q, dist.Normal(torch.zeros(5, dtype=x.dtype), 2.0))
    with seeded(1):
        z = q.rsample()
    expected = dist.Normal(z, model.log_noise.exp()).log_prob(x) - kl
    with seeded(1):
        bound = Objective("meanfield").bound(model, guide, (x,))
    assert torch.allclose(bound, expected, atol=1e-12)


def test_enumerated_bound_is_the_evidence_per_datum() -> None:
    x = data(6)
    model, guide = pairs.TwoComponents().double(), pairs.NoLatents()
    bound = Objective().bound(model, guide, (x,))
    assert bound.shape == (6,)
    assert torch.allclose(bound, model.evidence(x), atol=1e-12)
    loss = Objective(kl_weight=0.3).loss(model, guide, (x,), data_size=600)
    assert torch.isclose(-loss, model.evidence(x).mean(), atol=1e-12)


def test_enumerated_bound_of_one_datum() -> None:
    x = data(1)
    model, guide = pairs.TwoComponents().double(), pairs.NoLatents()
    bound = Objective().bound(model, guide, (x,))
    assert bound.shape == (1,)
    assert torch.allclose(bound, model.evidence(x), atol=1e-12)


class TwoPlates(nn.Module):
    """B clips of N sources s and T x K detections, each from a source: the shape of MixDVAE."""

    def __init__(self, missing: torch.Tensor | None = None) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64))
        self.missing = missing

    def forward(self, x: torch.Tensor) -> None:
        num_clips, frames, detections = x.shape
        clips = pyro.plate("clips", num_clips, dim=-3)
        with clips, pyro.plate("sources", 3, dim=-1):
            s = pyro.sample("s", dist.Normal(self.loc, 1.0).expand([num_clips, 1, 3]))
        frame, detection = (
            pyro.plate("frames", frames, dim=-2),
            pyro.plate("detections", detections, dim=-1),
        )
        with clips, frame, detection:
            weights = torch.tensor([0.5, 0.3, 0.2], dtype=x.dtype)
            w = pyro.sample("w", dist.Categorical(weights), infer={"enumerate": "parallel"})
            rows = torch.arange(num_clips)[:, None, None]
            mask = True if self.missing is None else ~self.missing
            pyro.sample("x", dist.Normal(s[rows, 0, w], 0.5).mask(mask), obs=x)


class TwoPlatesGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([-1.2, 0.4, 1.9], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("clips", len(x), dim=-3), pyro.plate("sources", 3, dim=-1):
            pyro.sample("s", dist.Normal(self.loc, 0.3).expand([len(x), 1, 3]))


def two_plates_by_hand(x: torch.Tensor, seed: int, observed: torch.Tensor) -> torch.Tensor:
    model, guide = TwoPlates(), TwoPlatesGuide()
    q = dist.Normal(guide.loc, 0.3).expand([len(x), 1, 3])
    with seeded(seed):
        s = q.rsample()
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=x.dtype).log()
    terms = weights + dist.Normal(s[:, :, None], 0.5).log_prob(x[..., None])
    data_term = (terms.logsumexp(-1) * observed).sum((1, 2))
    ratio = dist.Normal(model.loc, 1.0).log_prob(s) - q.log_prob(s)
    return data_term + ratio.sum((1, 2))


def test_enumerated_bound_per_datum_under_three_plates() -> None:
    x = data(4, 2, 5)
    with seeded(8):
        bound = Objective().bound(TwoPlates(), TwoPlatesGuide(), (x,), plate="clips")
    assert torch.allclose(bound, two_plates_by_hand(x, 8, torch.ones_like(x)), atol=1e-10)


def test_enumerated_bound_per_datum_with_a_mask() -> None:
    x = data(4, 2, 5)
    missing = torch.zeros(4, 2, 5, dtype=torch.bool)
    missing[0, 1, 3:] = missing[2, 0] = True
    with seeded(8):
        bound = Objective().bound(TwoPlates(missing), TwoPlatesGuide(), (x,))
    expected = two_plates_by_hand(x, 8, (~missing).double())
    assert torch.allclose(bound, expected, atol=1e-10)
    with seeded(8):
        loss = Objective().loss(TwoPlates(missing), TwoPlatesGuide(), (x,))
    assert torch.isclose(-loss, expected.mean(), atol=1e-10)


class EnumeratedGuide(nn.Module):
    """A guide that sums over its own q(w | x), as in semi-supervised learning."""

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            logits = torch.stack([x, -x], -1)
            pyro.sample("w", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})


def test_enumeration_in_the_guide_per_datum() -> None:
    x = data(6)
    model = pairs.TwoComponents().double()
    q = torch.stack([x, -x], -1).log_softmax(-1)
    expected = (q.exp() * (model.joint(x) - q)).sum(-1)
    bound = Objective().bound(model, EnumeratedGuide(), (x,))
    assert torch.allclose(bound, expected, atol=1e-10)
    loss = Objective().loss(model, EnumeratedGuide(), (x,))
    assert torch.isclose(-loss, expected.mean(), atol=1e-10)
