from __future__ import annotations

import ast
from pathlib import Path

import tools.options as options

ROOT = Path(__file__).parents[2]

EXCEPTIONS = {
    "the whole family tries it, by `tests.sequences` and the tables that stand on it": (
        "guides/dvae/base.py: forward(past=None)",
        "guides/dvae/base.py: forward(from_past=True)",
        "guides/dvae/base.py: frame_by_frame(states=())",
        "guides/dvae/base.py: frame_by_frame(leave=lambda z, states: None)",
        "guides/dvae/deepar.py: forward(past=None)",
        "guides/dvae/deepar.py: forward(from_past=True)",
        "guides/dvae/motion_filter.py: filter_source(z=None)",
        "guides/dvae/transformer.py: HiTDVAEGuide(num_layers=2)",
        "guides/dvae/transformer.py: LigHTDVAEGuide(num_layers=2)",
        "guides/linear_motion.py: PathNormal(scale=None)",
        "guides/slds.py: regimes(mask=None)",
        "ppl_models/distributions/gaussian_paths.py: GaussianChain(backward=False)",
        "ppl_models/distributions/gaussian_paths.py: GaussianChain(mask=None)",
        "ppl_models/distributions/gaussian_paths.py: GaussianChain(batch_shape=())",
        "ppl_models/distributions/gaussian_paths.py: prior(mask=None)",
        "ppl_models/distributions/gaussian_paths.py: ObservedChain(mask=None)",
        "ppl_models/distributions/gaussian_paths.py: ObservedChain(batch_shape=())",
        "ppl_models/distributions/markov.py: as_path(mask=None)",
        "ppl_models/dvae/base.py: forward(past=None)",
        "ppl_models/dvae/base.py: forward(from_past=True)",
        "ppl_models/dvae/base.py: path(past=None)",
        "ppl_models/dvae/conditionals.py: FrameConditionals(mask=None)",
        "ppl_models/dvae/conditionals.py: FrameConditionals(past=None)",
        "ppl_models/dvae/kvae.py: dynamics(mask=None)",
        "ppl_models/dvae/kvae.py: latent_path(w=None)",
        "ppl_models/dvae/recursion.py: Recursion(likelihood='gaussian')",
        "ppl_models/dvae/recursion.py: Recursion(global_dim=0)",
        "ppl_models/dvae/recursion.py: teacher_forced_past(mask=None)",
        "ppl_models/dvae/recursion.py: teacher_forced_past(features=None)",
        "ppl_models/dvae/recursion.py: latent_path(w=None)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(data_dim=4)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(latent_dim=4)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(dim=128)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(num_layers=2)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(heads=4)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(window=32)",
        "ppl_models/dvae/transformer.py: TransformerDVAE(dropout=0.0)",
        "ppl_models/networks/attention.py: Transformer(causal=True)",
        "ppl_models/networks/lstm.py: loop(start=0)",
        "ppl_models/slds.py: regimes(mask=None)",
    ),
    "what was seen, of data with gaps: the files `test_gaps.py`, `test_cca.py` give it to pairs": (
        "guides/dvae/base.py: DynamicalGuide(gaps=False)",
        "guides/dvae/base.py: forward(observed=None)",
        "guides/dvae/base.py: path(observed=None)",
        "guides/dvae/base.py: read_features(mask=None)",
        "guides/dvae/base.py: read_features(observed=None)",
        "guides/dvae/deepar.py: forward(observed=None)",
        "guides/dvae/deepar.py: path(observed=None)",
        "guides/dvae/dsae.py: DSAEGuide(gaps=False)",
        "guides/dvae/frame_vae.py: FrameVAEGuide(gaps=False)",
        "guides/dvae/kvae.py: forward(observed=None)",
        "guides/dvae/kvae.py: path(observed=None)",
        "guides/dvae/storn.py: STORNGuide(gaps=False)",
        "guides/dvae/transformer.py: HiTDVAEGuide(gaps=False)",
        "guides/dvae/transformer.py: LigHTDVAEGuide(gaps=False)",
        "guides/dvae/vrnn.py: VRNNGuide(gaps=False)",
        "guides/lds.py: forward(observed=None)",
        "guides/slds.py: forward(observed=None)",
        "ppl_models/cca.py: forward(observed=None)",
        "ppl_models/distributions/markov.py: ObservedStates(mask=None)",
        "ppl_models/distributions/markov.py: ObservedStates(observed=None)",
        "ppl_models/distributions/sequences.py: SequenceDistribution(observed=None)",
        "ppl_models/distributions/sequences.py: SequenceDistribution(fill=None)",
        "ppl_models/distributions/sequences.py: SequenceDistribution(estimates=False)",
        "ppl_models/dvae/base.py: forward(observed=None)",
        "ppl_models/dvae/base.py: path(observed=None)",
        "ppl_models/dvae/conditionals.py: FrameConditionals(observed=None)",
        "ppl_models/dvae/kvae.py: path(observed=None)",
        "ppl_models/dvae/pseudo_path.py: CompletedPath(mask=None)",
        "ppl_models/dvae/pseudo_path.py: CompletedPath(batch_shape=())",
        "ppl_models/dvae/recursion.py: fill(w=None)",
        "ppl_models/hmm.py: path(observed=None)",
        "ppl_models/lds.py: path(observed=None)",
        "ppl_models/lds.py: start_emission(observed=None)",
        "ppl_models/lds.py: ahead(observed=None)",
        "ppl_models/sequences.py: clean(observed=None)",
        "ppl_models/sequences.py: masked(observed=None)",
        "ppl_models/sequences.py: masked_frames(observed=None)",
        "ppl_models/sequences.py: check_paths(observed=None)",
        "ppl_models/sequences.py: sequence_plate(observed=None)",
        "ppl_models/sequences.py: forward(observed=None)",
        "ppl_models/sequences.py: path(observed=None)",
        "ppl_models/slds.py: path(observed=None)",
        "ppl_models/slds.py: states(observed=None)",
    ),
    "clips of several lengths: `test_mixdvae.py` and others pass it in a dict, or by place": (
        "guides/dvae/motion_rate.py: true_rates(mask=None)",
        "guides/mixdvae.py: forward(exists=None)",
    ),
    "through `posterior`, `mcmc` and `importance`, whose arguments these are": (
        "inference/diagnostics/arviz_groups.py: exported(dims=None)",
        "inference/diagnostics/arviz_groups.py: exported(predictive=True)",
        "inference/diagnostics/arviz_groups.py: exported(log_likelihood=True)",
        "inference/diagnostics/arviz_groups.py: exported(chains=1)",
        "inference/diagnostics/arviz_groups.py: exported(attrs=None)",
        "inference/diagnostics/arviz_groups.py: exported(khats=None)",
        "inference/diagnostics/arviz_groups.py: exported(stats=None)",
        "inference/diagnostics/arviz_groups.py: variable_of(drawn=True)",
        "inference/diagnostics/importance.py: weigh(khat_error=KHAT_ERROR)",
        "inference/diagnostics/importance.py: weigh(max_samples=None)",
        "inference/diagnostics/importance.py: weigh(keep_draws=True)",
    ),
    "given in its place, through a function of the test that passes arguments on": (
        "guides/modalities.py: forward(observed=None)",
        "inference/diagnostics/information.py: log_ratio(names=None)",
        "inference/objectives/pair_trace.py: kl(closed_form=True)",
        "inference/objectives/pair_trace.py: refuse_pathless(summed=False)",
        "inference/tasks/speech/resynthesis.py: analyse(forced=False)",
        "ppl_models/hierarchical_vae.py: Residual(share=1.0)",
        "ppl_models/hierarchical_vae.py: descend(leave=False)",
        "ppl_models/multimodal.py: forward(observed=None)",
        "ppl_models/text_vae.py: TokenSequence(batch_shape=())",
        "ppl_models/text_vae.py: TokenSequence(mask=None)",
    ),
    "a batch shape: the plates give it, through expand": (
        "ppl_models/distributions/density.py: Density(batch_shape=NONE)",
        "ppl_models/distributions/normal_mixture.py: DiagonalMixture(batch_shape=())",
        "ppl_models/distributions/sequences.py: SequenceDistribution(batch_shape=())",
        "ppl_models/priors/density.py: ByFunctions(batch_shape=())",
    ),
    "the data plate's name: `inference.tracing` tries it, for all that stand on `sampling`": (
        "inference/diagnostics/collapse.py: collapse_report(plate=None)",
        "inference/diagnostics/ppc.py: ppc(plate=None)",
        "inference/diagnostics/sbc.py: sbc(plate=None)",
        "inference/objectives/multimodal.py: measure(plate=None)",
        "inference/objectives/objective.py: measure(plate=None)",
        "inference/objectives/protocol.py: measure(plate=None)",
        "inference/tasks/imputation.py: impute(plate=None)",
        "inference/training/fit.py: fit(plate=None)",
    ),
    "words of an error or a picture": (
        "inference/diagnostics/canvas.py: draw_rows(heads=())",
        "inference/diagnostics/canvas.py: draw_rows(limits=None)",
        "inference/diagnostics/canvas.py: draw_rows(marks=())",
        "inference/diagnostics/pictures.py: plot_samples(seed=0)",
        "inference/diagnostics/pictures.py: plot_traversal(seed=0)",
        "inference/diagnostics/pictures.py: plot_imputations(seed=0)",
        "inference/objectives/penalties/base.py: number(above=True)",
        "inference/objectives/penalties/base.py: number(cure='')",
        "ppl_models/inputs.py: count_rows(argument='x')",
    ),
    "what the tests have no machine for, or the slow ones try": (
        "inference/metrics/frechet_speech.py: frechet_speech_distance(rate=16000)",
        "inference/training/fit.py: fit(accelerator='cpu')",
        "inference/training/processes.py: Processes(accelerator='cpu')",
        "inference/training/processes.py: Processes(strategy='auto')",
    ),
    "how long, and in which portions: the number it is about is tried with the default": (
        "inference/diagnostics/aggregate.py: contrasts(chunk=None)",
        "inference/diagnostics/collapse.py: collapse_report(chunk=None)",
    ),
    "given through a subclass, or through what stands on it": (
        "ppl_models/distributions/markov.py: MarkovPath(summed=False)",
        "ppl_models/slds.py: regimes(summed=False)",
        "inference/diagnostics/sbc.py: sbc(replace=None)",
        "inference/objectives/penalties/correlation.py: parts(prior=True)",
        "inference/objectives/penalties/critics.py: Critic(steps=1)",
        "inference/objectives/penalties/critics.py: Critic(site=None)",
        "ppl_models/likelihoods/basic.py: Likelihood(reader=None)",
    ),
}


def test_every_option_is_given_another_value_by_some_test_or_has_a_reason() -> None:
    """``python -m tools.options`` lists them. Write a test (tests/test_options.py has many)."""
    known = {key for keys in EXCEPTIONS.values() for key in keys}
    found = [option.key for option in options.untried(ROOT) if option.key not in known]
    assert not found, "\n".join(["no test gives these another value:", *found])


def test_an_option_is_tried_by_name_or_in_its_place(tmp_path: Path) -> None:
    code = ast.parse("class A:\n def __init__(self, a, b=2, *, c=3): ...\n def f(self, d=4): ...")
    found = {option.name: option for option in options._options(code.body, "ppl_models/a.py", "")}
    assert {name: (o.owner, o.place) for name, o in found.items()} == {
        "b": ("A", 1),
        "c": ("A", None),
        "d": ("f", 0),
    }
    test = tmp_path / "test_a.py"
    for text, tried in (
        ("A(1, 2, c=3).f(4)", ""),
        ("A(1, 5)", "b"),
        ("A(*sizes)", "b"),
        ("A(1, c=4)", "c"),
        ("x.f(5)", "d"),
        ("how = {'c': 4}", "c"),
    ):
        test.write_text(text)
        use = options._use(test)
        assert [name for name, o in found.items() if options._tries(use, o)] == list(tried)
