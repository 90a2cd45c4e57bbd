"""The first set, errors in the models: chosen before looking whether a test notices them."""

from __future__ import annotations

from tools.mutants.planting import Mutant as M

P, D, G = "ppl_models/", "ppl_models/distributions/", "guides/"

MODELS = [
    M(
        P + "priors/density.py",
        "total = total - log_scale.sum(-1)",
        "total = total + log_scale.sum(-1)",
        "sign of a log determinant",
    ),
    M(
        P + "priors/density.py",
        "ratio.std() / math.sqrt(count)",
        "ratio.std() / count",
        "standard error over n, not its root",
    ),
    M(
        P + "priors/density.py",
        "torch.Generator().manual_seed(seed)",
        "torch.Generator().manual_seed(0)",
        "seed ignored",
    ),
    M(
        P + "priors/simple.py",
        "torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))",
        "torch.randperm(len(features), generator=torch.Generator().manual_seed(0))",
        "seed ignored",
    ),
    M(P + "priors/simple.py", "MARGIN = 0.01", "MARGIN = 0.1", "another constant"),
    M(
        P + "likelihoods/basic.py",
        "(scale * scale + self.floor**2).sqrt()",
        "(scale * scale + self.floor).sqrt()",
        "floor of a variance, not of a scale",
    ),
    M(
        P + "likelihoods/spectra.py",
        "(levels - centre).pow(2).mean()",
        "(levels - levels.mean()).pow(2).mean()",
        "spread about another centre",
    ),
    M(
        P + "likelihoods/spectra.py",
        "frames = s[mask] if mask is not None else s.reshape(-1, s.shape[-1])",
        "frames = s.reshape(-1, s.shape[-1])",
        "mask dropped at the start",
    ),
    M(D + "sequences.py", "FLOOR = 1e-3", "FLOOR = 1e-1", "another constant"),
    M(
        D + "normal_mixture.py",
        "spread = self.scale**2 + (self.loc - self.mean.unsqueeze(-2)) ** 2",
        "spread = self.scale**2 + self.loc**2",
        "variance about zero",
    ),
    M(
        D + "kalman.py",
        " + pull @ params.process_cov @ pull.mT",
        "",
        "a term of Joseph's form dropped",
    ),
    M(
        D + "markov.py",
        "pairs - states[..., :-1, :, None], mask)",
        "pairs - states[..., 1:, :, None], mask)",
        "marginal of the next frame",
    ),
    M(
        D + "particles.py",
        "total[:, 0] - math.log(parents)",
        "total[:, 0] - math.log(num_particles)",
        "wrong count in the first frame's mean",
    ),
    M(
        P + "hmm.py",
        "last = filtered[:, -1] if mask is None else filtered[ends(mask)]",
        "last = filtered[:, -1]",
        "forecast from the padding",
    ),
    M(
        P + "likelihoods/emissions.py",
        "(variance - part.floor**2).clamp(least)",
        "variance.clamp(least)",
        "the floor counted twice",
    ),
    M(
        P + "lds.py",
        "variance = (spread + (first - self.initial_mean).square()).mean(0)",
        "variance = (first - self.initial_mean).square().mean(0)",
        "EM forgets the doubt about z_1",
    ),
    M(
        P + "lds.py",
        "axes[:n].T * (lengths[:n] / len(x) ** 0.5)",
        "axes[:n].T * lengths[:n]",
        "unit of a start",
    ),
    M(
        P + "slds.py",
        "chain = self.regimes(length, mask, summed=summed)",
        "chain = self.regimes(length, summed=summed)",
        "mask dropped from the regimes",
    ),
    M(
        P + "ppca.py",
        "variance = lengths.square() / len(x)",
        "variance = lengths.square() / (len(x) - 1)",
        "not maximum likelihood",
    ),
    M(P + "ica.py", "torch.cov(x.T, correction=0)", "torch.cov(x.T)", "n - 1 for n"),
    M(
        P + "rbm.py",
        "self.bias.copy_(mean - self.weight.sum(1) / 2)",
        "self.bias.copy_(mean)",
        "start without the hidden bits' mean",
    ),
    M(
        P + "made.py",
        "torch.arange(data_dim)",
        "torch.arange(data_dim).flip(0)",
        "order of the numbers reversed",
    ),
    M(
        G + "hierarchical_vae.py",
        "levels.insert(0, h)",
        "levels.append(h)",
        "features in the wrong order",
    ),
    M(
        P + "poisson_factors.py",
        "(self.log_mean - 0.5 * self.log_shape).exp()",
        "(self.log_mean - self.log_shape).exp()",
        "variance of a Gamma",
    ),
    M(
        G + "poisson_factors.py",
        "(intensity + model.logits.log_softmax(-1))",
        "(intensity + model.logits)",
        "loadings not normalised",
    ),
    M(
        P + "text_vae.py",
        "start = torch.full_like(x[..., :1], self.num_tokens)",
        "start = torch.full_like(x[..., :1], self.num_tokens - 1)",
        "another first token",
    ),
    M(
        P + "linear_motion.py",
        "BOX_DECAY = (1.0, 1.0, 0.9, 0.9)",
        "BOX_DECAY = (1.0, 1.0, 1.0, 1.0)",
        "another default",
    ),
    M(
        P + "mixdvae.py",
        "dist.InverseGamma(half, half * mode)",
        "dist.InverseGamma(half, (half + 1) * mode)",
        "mode for scale",
    ),
    M(
        G + "gaussian_mixture.py",
        "(2 * count).rsqrt()",
        "count.rsqrt()",
        "standard error of a standard deviation",
    ),
    M(
        P + "data/sound.py",
        "10 ** (-top_db / 10)",
        "10 ** (-top_db / 20)",
        "decibels of amplitude for power",
    ),
    M(P + "data/stft.py", "momentum: float = 0.99", "momentum: float = 0.9", "another default"),
    M(
        P + "data/trajectories.py",
        "/ height[..., :1, None]",
        "/ height[..., None]",
        "unit of each frame, not of the first",
    ),
    M(
        P + "data/speech.py",
        "max(frames - length + 1, 0)",
        "max(frames - length, 0)",
        "the last piece lost",
    ),
    M(
        P + "dvae/recursion.py",
        "by_chance = self.training and self.sampling_probability > 0",
        "by_chance = self.sampling_probability > 0",
        "scheduled sampling in evaluation",
    ),
    M(
        P + "dvae/recursion.py",
        "self.sampling_probability).tolist()",
        "1 - self.sampling_probability).tolist()",
        "coins the wrong way round",
    ),
]
