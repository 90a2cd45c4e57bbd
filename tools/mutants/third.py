"""The third set: of the code of the last merges, written before a look at its tests."""

from __future__ import annotations

from tools.mutants.planting import Mutant as M

P, D, G, I = "ppl_models/", "ppl_models/distributions/", "guides/", "inference/"  # noqa: E741

THIRD = [
    M(
        P + "cca.py",
        "0.5 * white.square().sum(-1) - root",
        "0.5 * white.square().sum(-1) + root",
        "sign of a log determinant",
    ),
    M(
        P + "cca.py",
        "message = message + _where(there, white.T @ directions)",
        "message = message + white.T @ directions",
        "mask dropped",
    ),
    M(
        P + "cca.py",
        "both @ (z.T @ x_m)) / len(x_m)",
        "both @ (z.T @ x_m)) / len(code)",
        "n of all",
    ),
    M(
        P + "cca.py",
        "weight = 0.9 * centred(value).T",
        "weight = 0.5 * centred(value).T",
        "another constant of a start",
    ),
    M(
        G + "cca.py",
        "encoder.bias.copy_(-self.model.means[name] @ reader)",
        "encoder.bias.zero_()",
        "means forgotten",
    ),
    M(
        P + "ivae.py",
        "distribution: TorchDistribution = self.likelihood(self.decoder(z))",
        "distribution: TorchDistribution = self.likelihood(self.decoder(z.detach()))",
        "gradient cut",
    ),
    M(
        P + "dvae/pseudo_path.py",
        "total = total + whole - part",
        "total = total + whole",
        "what was seen counted twice",
    ),
    M(
        P + "dvae/pseudo_path.py",
        "for frames in (self.mask_frames, self.seen)",
        "for frames in (None, self.seen)",
        "padding scored",
    ),
    M(
        P + "dvae/conditionals.py",
        "self.observed | ~self.mask[..., None]",
        "self.observed & self.mask[..., None]",
        "padding filled with draws",
    ),
    M(
        D + "markov.py",
        "past = (filtered[..., :-1, :, None] + transition).log_softmax(-2)",
        "past = (filtered[..., 1:, :, None] + transition).log_softmax(-2)",
        "a time step late",
    ),
    M(
        D + "markov.py",
        "frames = frames.expand((*mask.shape, states)).mask(mask[..., None])",
        "frames = frames.expand((*mask.shape, states))",
        "mask dropped",
    ),
    M(
        I + "diagnostics/marginal_khat.py",
        "slope * u + 0.5 * (1 - precision) * u**2",
        "slope * u + (1 - precision) * u**2",
        "a half forgotten",
    ),
    M(
        I + "diagnostics/marginal_khat.py",
        "return mean / variance / beta, 1 + (own / variance - 1) / beta",
        "return mean / variance, own / variance",
        "tempering not undone",
    ),
    M(
        I + "diagnostics/resample.py",
        "start = torch.rand(len(columns), 1, dtype=torch.double)",
        "start = torch.full((len(columns), 1), 0.5, dtype=torch.double)",
        "offset of resampling fixed",
    ),
    M(
        I + "diagnostics/resample.py",
        "shuffled = torch.rand(chosen.shape).argsort(1)",
        "shuffled = torch.arange(chosen.shape[1]).expand(chosen.shape)",
        "columns not independent",
    ),
    M(
        I + "metrics/identifiability.py",
        "_standard(_ranks(x) if rank else x)",
        "_standard(x)",
        "option ignored",
    ),
    M(
        I + "diagnostics/normal_approximation.py",
        "mean = place.double() - covariance @ next_slope.double()",
        "mean = place.double()",
        "no Newton step",
    ),
    M(
        I + "diagnostics/normal_approximation.py",
        "torch.outer(s, s) / (s @ y)",
        "torch.outer(s, s) / (s @ s)",
        "BFGS with another scale",
    ),
    M(
        I + "diagnostics/mcmc.py",
        "return frame.mean + run.get_samples()",
        "return run.get_samples()",
        "origin of the coordinates forgotten",
    ),
    M(
        I + "diagnostics/mcmc.py",
        'reseed(derive(settings.seed, "chain", chain))',
        'reseed(derive(settings.seed, "chain", 0))',
        "all chains alike",
    ),
    M(
        I + "diagnostics/curve.py",
        "0.2 * self.target",
        "0.2 * self.train_rate",
        "share of another number",
    ),
    M(
        I + "diagnostics/curve.py",
        "reach = min(window // 2, i, len(self.points) - 1 - i)",
        "reach = min(window // 2, i, len(self.points) - i)",
        "off by one at the end",
    ),
    M(
        I + "objectives/rate_distortion.py",
        "weights.sum(0) / count",
        "weights.mean(0)",
        "another count",
    ),
    M(
        I + "diagnostics/units.py",
        "spread = (spread - noise / size).clamp(min=0.0)",
        "spread = (spread - noise).clamp(min=0.0)",
        "noise of one draw, not of their mean",
    ),
    M(
        I + "diagnostics/conditional.py",
        "((above - below) ** 2).sum(0).sqrt()",
        "(above**2).sum(0).sqrt()",
        "error of one of two sums",
    ),
    M(
        I + "training/ending.py",
        "(1 + rho) / (1 - rho)",
        "(1 - rho) / (1 + rho)",
        "correlation the wrong way round",
    ),
]
