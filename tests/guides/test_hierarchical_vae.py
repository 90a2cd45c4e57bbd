"""The hierarchical VAE against dense Gaussians: with linear parts, everything is known exactly."""

from __future__ import annotations

import torch
from pyro import poutine
from torch import Tensor, nn

from guides.hierarchical_vae import HierarchicalVAEGuide
from inference import importance
from ppl_models.hierarchical_vae import HierarchicalVAE, Residual
from ppl_models.networks.mlp import split_normal

D, H = 4, 8


def still(*blocks: nn.Module) -> None:
    """Make residual blocks the identity."""
    for block in blocks:
        nn.init.zeros_(block.change[-1].weight)
        nn.init.zeros_(block.change[-1].bias)


def linear(*sizes: int) -> HierarchicalVAE:
    """A model whose blocks are the identity, with affine heads and decoder and fixed scales."""
    model = HierarchicalVAE(D, sizes, hidden_dim=H)
    still(*model.block)
    heads = [nn.Linear(H, 2 * size + H) for size in sizes[1:]]
    for head, size in zip(heads, sizes[1:], strict=True):
        nn.init.zeros_(head.weight[size : 2 * size])  # log scales that depend on nothing
        nn.init.normal_(head.weight[2 * size :], std=0.5)  # a drift that counts
    model.head, model.decoder = nn.ModuleList(heads), nn.Linear(H, D)
    with torch.no_grad():
        model.likelihood.log_scale.fill_(-0.7)
    return model.double()


class Affine:
    """A vector that is affine in the noises e of all levels, stacked: matrix e + offset."""

    def __init__(self, matrix: Tensor, offset: Tensor) -> None:
        self.matrix, self.offset = matrix, offset

    def through(self, layer: nn.Linear, rows: slice = slice(None)) -> Affine:
        weight, bias = layer.weight.detach()[rows], layer.bias.detach()[rows]
        return Affine(weight @ self.matrix, weight @ self.offset + bias)

    def __add__(self, other: Affine) -> Affine:
        return Affine(self.matrix + other.matrix, self.offset + other.offset)


def joint(model: HierarchicalVAE) -> torch.distributions.MultivariateNormal:
    """The Gaussian of (z0, ..., zN, x), by matrices, from the equations of the docstring."""
    sizes = (*model.latent_dims, D)
    noises, start = sum(sizes), 0
    codes, stream = list[Affine](), None
    for n, size in enumerate(model.latent_dims):
        own = torch.zeros(size, noises).double()
        own[:, start : start + size] = torch.eye(size)
        start += size
        if stream is None:
            z = Affine(own, torch.zeros(size).double())
            stream = z.through(model.write[0])
        else:
            head = model.head[n - 1]
            scale = head.bias.detach()[size : 2 * size].exp()
            z = stream.through(head, slice(size)) + Affine(scale[:, None] * own, 0 * scale)
            drift = stream.through(head, slice(2 * size, None))
            stream = stream + drift + z.through(model.write[n])
        codes.append(z)
    assert stream is not None
    own = torch.zeros(D, noises).double()
    own[:, start:] = model.likelihood.scale.detach() * torch.eye(D)
    codes.append(stream.through(model.decoder) + Affine(own, torch.zeros(D).double()))
    matrix, mean = (torch.cat([getattr(c, k) for c in codes]) for k in ("matrix", "offset"))
    return torch.distributions.MultivariateNormal(mean, matrix @ matrix.T)


def test_linear_levels_are_one_gaussian() -> None:
    model = linear(2, 3, 1)
    nodes = poutine.trace(model).get_trace(size=5).nodes
    names = ("z0", "z1", "z2", "x")
    values = torch.cat([nodes[name]["value"] for name in names], -1)
    found = sum(nodes[n]["fn"].log_prob(nodes[n]["value"]) for n in names)
    assert torch.allclose(found, joint(model).log_prob(values))


def test_a_guide_that_is_the_posterior_has_the_evidence_as_its_bound() -> None:
    """Codes of one number each: the guide's networks can be the exact conditionals, affine."""
    model = linear(1, 1)
    guide = HierarchicalVAEGuide(model).double()
    still(*guide.up)
    known = joint(model)
    mean, cov = known.mean, known.covariance_matrix
    with torch.no_grad():
        guide.first.weight.copy_(torch.eye(H, D))  # the features are x, padded
        guide.first.bias.zero_()
        guide.head[0], guide.head[1] = _top(mean, cov), _below(model, mean, cov)
    x = model(size=6).detach()
    found = importance(model, guide, x, num_samples=20)
    marginal = torch.distributions.MultivariateNormal(mean[2:], cov[2:, 2:])
    expected = marginal.log_prob(x)
    # every single weight is the evidence: no noise at all, but for rounding
    assert torch.allclose(found.log_weights, expected.expand(20, -1), atol=1e-6)


def _regression(cov: Tensor, of: int, given: list[int]) -> tuple[Tensor, Tensor]:
    """Coefficients of a number on others, and the standard deviation of what is left."""
    weight = torch.linalg.solve(cov[given][:, given], cov[given, of])
    return weight, (cov[of, of] - weight @ cov[given, of]).sqrt()


def _top(mean: Tensor, cov: Tensor) -> nn.Linear:
    """p(z0 | x), read off the features."""
    weight, scale = _regression(cov, 0, [2, 3, 4, 5])
    layer = nn.Linear(H, 2).double()
    layer.weight.zero_()
    layer.weight[0, :D] = weight
    layer.bias.copy_(torch.stack([mean[0] - weight @ mean[2:], scale.log()]))
    return layer


def _below(model: HierarchicalVAE, mean: Tensor, cov: Tensor) -> nn.Linear:
    """p(z1 | z0, x) relative to the prior of z1, read off features and stream."""
    weight, scale = _regression(cov, 1, [0, 2, 3, 4, 5])
    write, head = model.write[0], model.head[0]
    back = write.weight[:, 0] / write.weight.square().sum()  # z0 = back (stream - bias)
    prior_scale = head.bias[1].exp()
    of_stream = weight[0] * back - head.weight[0]  # mean of z1 less that of its prior
    offset = mean[1] - weight @ mean[[0, 2, 3, 4, 5]]
    offset = offset - weight[0] * (back @ write.bias) - head.bias[0]
    layer = nn.Linear(2 * H, 2).double()
    layer.weight.zero_()
    layer.weight[0, :D], layer.weight[0, H:] = weight[1:] / prior_scale, of_stream / prior_scale
    layer.bias.copy_(torch.stack([offset / prior_scale, (scale / prior_scale).log()]))
    return layer


def test_a_pass_down_is_what_the_docstring_says() -> None:
    """h_(n+1) = block(h_n + drift(h_n) + write(z_n)), and posteriors relative to the priors."""
    model = HierarchicalVAE(D, (2, 3, 2), hidden_dim=H).double()
    guide, x = HierarchicalVAEGuide(model).double(), torch.randn(5, D).double()
    nodes = poutine.trace(guide).get_trace(x).nodes
    h, features = guide.first(x), []
    for block in (guide.up[2], guide.up[1], guide.up[0]):
        h = block(h)
        features.append(h)  # the last one, reached by all blocks, is the top's
    top, middle, bottom = features[::-1]
    loc, scale = split_normal(guide.head[0](top))
    stream = model.block[0](model.write[0](nodes["z0"]["value"]))
    for n, (feature, size) in enumerate([(middle, 3), (bottom, 2)], 1):
        assert torch.allclose(nodes[f"z{n - 1}"]["fn"].base_dist.loc, loc)
        assert torch.allclose(nodes[f"z{n - 1}"]["fn"].base_dist.scale, scale)
        raw, drift = model.head[n - 1](stream).split([2 * size, H], -1)
        shift, factor = split_normal(guide.head[n](torch.cat([feature, stream], -1)))
        prior_loc, prior_scale = split_normal(raw)
        loc, scale = prior_loc + prior_scale * shift, prior_scale * factor
        stream = model.block[n](stream + drift + model.write[n](nodes[f"z{n}"]["value"]))
    assert torch.allclose(nodes["z2"]["fn"].base_dist.loc, loc)
    trace = poutine.trace(
        poutine.condition(model, {f"z{n}": nodes[f"z{n}"]["value"] for n in range(3)})
    )
    assert torch.allclose(trace.get_trace(x).nodes["x"]["fn"].base_dist.loc, model.decoder(stream))


def test_residual_blocks_start_as_near_to_the_identity_as_there_are_many() -> None:
    """torch's initial weights lie within 1 / sqrt(H); those of the last layers within a share."""
    model = HierarchicalVAE(D, (2, 2, 2, 2), hidden_dim=H)
    blocks = [*model.block, *HierarchicalVAEGuide(model).up]
    largest = torch.stack([block.change[-1].weight.abs().max() for block in blocks])
    assert (largest <= 0.5 / H**0.5).all() and (largest > 0.4 / H**0.5).all()
    assert Residual(H).change[-1].weight.abs().max() > 0.8 / H**0.5
