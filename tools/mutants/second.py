"""The second set: chosen after the first one's gaps were closed, before a look at the tests."""

from __future__ import annotations

from tools.mutants.planting import Mutant as M

P, D, G, I = "ppl_models/", "ppl_models/distributions/", "guides/", "inference/"  # noqa: E741

SECOND = [
    M(P + "rbm.py", "clamp(min=1e-3).log() - 1)", "clamp(min=1e-3).log())", "start without its -1"),
    M(
        P + "rbm.py",
        "return self.hidden_dim * math.log(2) + self._visible(self.bias)",
        "return self._visible(self.bias)",
        "states of the hidden bits not counted",
    ),
    M(
        P + "ppca.py",
        "count = torch.full_like(x[:, 0], self.data_dim)\n        if mask is not None:",
        "count = torch.full_like(x[:, 0], self.data_dim)\n        if mask is None:",
        "mask the wrong way round",
    ),
    M(
        P + "ppca.py",
        "axes[: self.latent_dim].T * top",
        "axes[: self.latent_dim].T * top.flip(0)",
        "lengths of the axes reversed",
    ),
    M(
        P + "text_vae.py",
        "(tokens if mask is None else torch.where(mask, tokens, 0.0)).sum(-1)",
        "tokens.sum(-1)",
        "padding scored",
    ),
    M(
        P + "poisson_factors.py",
        "(mean.sum() / self.latent_dim).log()",
        "mean.sum().log()",
        "mean not shared out",
    ),
    M(
        P + "data/stft.py",
        "torch.polar(moduli, ahead.angle()), possible",
        "torch.polar(moduli, ahead.angle()), ahead",
        "momentum of the wrong term",
    ),
    M(
        P + "data/voices.py",
        "_BANDWIDTHS = np.array([50.0, 70, 110, 250, 1000])",
        "_BANDWIDTHS = np.array([50.0, 70, 110, 150, 1000])",
        "another constant",
    ),
    M(
        P + "distributions/normal_mixture.py",
        "each.masked_fill(~self.present, -torch.inf)",
        "each",
        "absent components scored",
    ),
    M(
        D + "particles.py",
        "points = (torch.arange(count, device=weight.device) + start) / count",
        "points = (torch.arange(count, device=weight.device) + 0.5) / count",
        "offset of resampling fixed",
    ),
    M(
        D + "kalman.py",
        "still = filtered.mean[..., :-1, :] - matvec(pull, filtered.predicted_mean[..., 1:, :])",
        "still = filtered.mean[..., :-1, :] - matvec(pull, filtered.mean[..., 1:, :])",
        "filtered for predicted",
    ),
    M(
        D + "sequences.py",
        "num_levels, 1 / (num_levels - 1)",
        "num_levels, 1 / num_levels",
        "width of a level",
    ),
    M(
        P + "dvae/past.py",
        "return now._replace(s=row(self.s), frame=frame, frame_features=features, t=t)",
        "return now._replace(s=row(self.s), frame=frame, frame_features=features)",
        "time not moved on",
    ),
    M(
        P + "dvae/kvae.py",
        "z = self.start_scale * moves[..., 0, :]",
        "z = moves[..., 0, :]",
        "simulation ignores an option",
    ),
    M(
        P + "networks/lstm.py",
        "count - 1 - frames, frames)",
        "count - frames, frames)",
        "reversal off by one",
    ),
    M(
        P + "likelihoods/spectra.py",
        "centre, raw, self.reader.spread)",
        "centre, raw)",
        "spread ignored by the decoder",
    ),
    M(
        P + "priors/density.py",
        "self.log_z.copy_(logs.logsumexp(0) - math.log(count))",
        "self.log_z.copy_(logs.logsumexp(0) - math.log(self.num_samples))",
        "mean over another count",
    ),
    M(P + "gaussian_mixture.py", "float(concentration))", "1.0)", "option ignored"),
    M(
        G + "multimodal.py",
        "where = count > 1 if joint",
        "where = count > 0 if joint",
        "the joint encoder for single modalities",
    ),
    M(
        G + "gaussian_mixture.py",
        "(1 + count[:, 0]).log()",
        "count[:, 0].log()",
        "prior count forgotten",
    ),
    M(
        G + "linear_motion.py",
        "observed[:, 0] = 0.0  # no step",
        "observed[:, 0] *= 1  # no step",
        "a step before the first frame",
    ),
    M(
        G + "dvae/base.py",
        "empty.normal_() * self.noise if self.noise",
        "empty.normal_() if self.noise",
        "scale of the noise ignored",
    ),
    M(
        I + "diagnostics/pareto.py",
        "return (m * k + 5) / (m + 10), -k / mean",
        "return (m * k + 5) / (m + 10), -(m * k + 5) / (m + 10) / mean",
        "scale from the prior's k",
    ),
    M(
        I + "diagnostics/importance_weights.py",
        "min(1 - 1 / math.log10(draws), 0.7)",
        "min(1 - 1 / math.log(draws), 0.7)",
        "another logarithm",
    ),
    M(
        I + "diagnostics/ppc.py",
        "torch.tensor([0.05, 0.95])",
        "torch.tensor([0.025, 0.975])",
        "another interval",
    ),
    M(
        I + "diagnostics/annealed_importance.py",
        "temperatures: int = 1000",
        "temperatures: int = 100",
        "another default",
    ),
    M(
        I + "diagnostics/collapse.py",
        "min(num_samples, _COMPARED)",
        "_COMPARED",
        "more draws than were asked for",
    ),
    M(
        I + "schedules.py",
        "min(step % self.period / (self.ratio * self.period), 1.0)",
        "min(step % self.period / self.period, 1.0)",
        "option ignored",
    ),
    M(
        I + "objectives/kl_weight.py",
        "weights = {weight.get(one, 1.0) for one",
        "weights = {weight.get(one, 0.0) for one",
        "weight of sites that are not named",
    ),
    M(
        I + "objectives/importance_weighted.py",
        "iwae(order * log_weights) / order",
        "iwae(order * log_weights)",
        "Renyi's factor dropped",
    ),
    M(
        I + "objectives/penalties/critics.py",
        "return softplus(-self.score(codes.z)).mean()",
        "return softplus(self.score(codes.z)).mean()",
        "the judge fooled the wrong way",
    ),
    M(
        I + "training/contrastive.py",
        "start = state if persistent else x[rows]",
        "start = x[rows]",
        "option ignored",
    ),
    M(
        I + "training/plan.py",
        "epoch % self.report_every == 0 or epoch == self.epochs",
        "epoch % self.report_every == 0",
        "the last epoch not reported",
    ),
    M(
        I + "tasks/imputation.py",
        "torch.where(missing[name], drawn, sampler",
        "torch.where(~missing[name], drawn, sampler",
        "mask the wrong way round",
    ),
    M(
        I + "tasks/tracking/kalman.py",
        "sigma, epsilon = scale * sigma, scale * epsilon",
        "sigma = scale * sigma",
        "option applied to one noise",
    ),
    M(
        I + "tasks/speech/long_recordings.py",
        "total += w[0] * (len(piece) / len(wave))",
        "total += w[0] / 2",
        "pieces not weighted by length",
    ),
    M(I + "metrics/frechet.py", "scatter / (self.rows - 1)", "scatter / self.rows", "n for n - 1"),
    M(
        I + "metrics/frechet.py",
        "bias = (batches - 1) * (",
        "bias = batches * (",
        "jackknife's factor",
    ),
]
