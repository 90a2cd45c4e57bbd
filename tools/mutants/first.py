"""The first set, errors in the rest: chosen before looking whether a test notices them."""

from __future__ import annotations

from tools.mutants.first_models import MODELS
from tools.mutants.planting import Mutant as M

P, G, I = "ppl_models/", "guides/", "inference/"  # noqa: E741

FIRST = [
    *MODELS,
    M(
        G + "multimodal.py",
        "return observed if present is None else present & observed",
        "return observed",
        "a private code inferred from padding",
    ),
    M(
        G + "mixdvae.py",
        "torch.full_like(logit[..., :1], -4.5)",
        "torch.full_like(logit[..., :1], -0.5)",
        "another constant",
    ),
    M(
        G + "dvae/motion_filter.py",
        "self.motion.start_scale**2)",
        "self.motion.start_scale)",
        "scale for variance, of an option",
    ),
    M(
        G + "linear_motion.py",
        "zero + self.start_scale**2",
        "zero + self.start_scale",
        "scale for variance, of an option",
    ),
    M(
        I + "diagnostics/importance_weights.py",
        "error / mean / self.size",
        "error / mean",
        "a joint bound's error not over N",
    ),
    M(
        I + "diagnostics/pareto.py",
        "3 * math.sqrt(draws)",
        "2 * math.sqrt(draws)",
        "length of the tail",
    ),
    M(I + "diagnostics/sbc.py", "(ties + 1)).long()", "ties).long()", "ties not quite at random"),
    M(
        I + "diagnostics/rates.py",
        "[v.mean(1) * size if v.dim() == 2 else v for v in values]",
        "[v.sum(1) if v.dim() == 2 else v for v in values]",
        "a minibatch taken for all data",
    ),
    M(
        I + "diagnostics/ppc.py",
        "(above + 0.5 * (self.replicates == self.observed))",
        "(above + (self.replicates == self.observed))",
        "ties in full",
    ),
    M(
        I + "diagnostics/collapse.py",
        "mean_and_error(total - before)",
        "mean_and_error(total)",
        "information of the sites before counted again",
    ),
    M(
        I + "schedules.py",
        "self.start * (step + 1) / self.warmup",
        "self.start * step / self.warmup",
        "a first step of rate zero",
    ),
    M(
        I + "objectives/target_rate.py",
        "self.weight / (1 + self.step)",
        "self.weight * (1 - self.step)",
        "steps down that do not undo steps up",
    ),
    M(
        I + "objectives/importance_weighted.py",
        "self.data - kl_weight * self.ratio",
        "self.data - self.ratio",
        "option ignored",
    ),
    M(
        I + "training/aggressive.py",
        'at["waited"] < self.patience',
        'at["waited"] <= self.patience',
        "patience off by one",
    ),
    M(
        I + "training/epoch_report.py",
        "squares / (count - 1) / rows",
        "squares / count / rows",
        "n for n - 1 in a standard error",
    ),
    M(
        I + "training/step.py",
        'derive(seed, "step", at.step, self',
        'derive(seed, "step", at.epoch, self',
        "the same noise in every step of an epoch",
    ),
    M(
        I + "objectives/penalties/aggregated.py",
        "2 * a.shape[1] * self.variance * scale",
        "2 * a.shape[1] * scale",
        "option ignored",
    ),
    M(
        I + "objectives/penalties/correlation.py",
        "math.log(size) - math.log(batch - 1)",
        "math.log(size) - math.log(batch)",
        "B for B - 1",
    ),
    M(
        I + "objectives/penalties/critics.py",
        "gradient_penalty: float = 10.0",
        "gradient_penalty: float = 1.0",
        "another default",
    ),
    M(I + "vem.py", "/ (count + nu + 2)", "/ (count + nu)", "mean for mode"),
    M(
        I + "tasks/particle_filter.py",
        'names = ("z", "w") if',
        'names = ("z",) if',
        "a latent left behind by resampling",
    ),
    M(
        I + "tasks/tracking/linking.py",
        "begins.z, begins.sz = -begins.z, -begins.sz",
        "begins.z, begins.sz = -begins.z, begins.sz",
        "covariance not turned in time",
    ),
    M(
        I + "tasks/tracking/kalman.py",
        "ss2 = ss + 2 * decay * sz + zz2",
        "ss2 = ss + 2 * sz + zz2",
        "decay forgotten",
    ),
    M(
        I + "tasks/tracking/tracks.py",
        "np.where(drawn == n, 0, drawn + 1)",
        "np.where(drawn == n, 0, drawn)",
        "objects numbered from 0",
    ),
    M(
        I + "tasks/imputation.py",
        "[(1 - probability) / 2, (1 + probability) / 2]",
        "[1 - probability, probability]",
        "tails of the whole, not half of it",
    ),
    M(
        I + "tasks/speech/recipes.py",
        "kl_weight: float = 0.01",
        "kl_weight: float = 0.1",
        "another default",
    ),
    M(
        I + "tasks/speech/long_recordings.py",
        "(2 * middle / samples - 0.5)",
        "(middle / samples)",
        "a fade over the whole overlap",
    ),
    M(
        I + "metrics/frechet.py",
        "math.sqrt((batches - 1) * float(without.var(correction=0)))",
        "math.sqrt(float(without.var(correction=0)))",
        "jackknife without its factor",
    ),
    M(
        I + "metrics/tracking.py",
        "2 * self.id_matches / (self.boxes + self.track_boxes)",
        "self.id_matches / self.boxes",
        "recall for F1",
    ),
    M(
        I + "tracing/sampler.py",
        "float(values.std() / math.sqrt(values.numel()))",
        "float(values.std(correction=0) / math.sqrt(values.numel()))",
        "n for n - 1",
    ),
    M(
        I + "diagnostics/aggregate.py",
        "log_q.logsumexp(1) - (count - 1).log()",
        "log_q.logsumexp(1) - count.log()",
        "N for N - 1",
    ),
    M(
        I + "diagnostics/amortisation.py",
        "if left <= 1 / 3:",
        "if left <= 1:",
        "an average over the whole climb",
    ),
    M(
        P + "networks/attention.py",
        "self.bias[:, : key.shape[-2]].flip(-1)",
        "self.bias[:, : key.shape[-2]]",
        "distances the wrong way round",
    ),
]
