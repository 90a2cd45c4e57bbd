from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.coherence import Recipe, accuracy, classifier, generate
from benchmarks.multimodal import image_likelihood, train_jmvae
from ppl_models.data.fsdd import SpokenDigits
from ppl_models.data.mnist import Digits

SIZE = 200


def digits() -> Digits:
    """Blobs of which each class has its own place."""
    labels = torch.arange(SIZE) % 10
    images = torch.zeros(SIZE, 784)
    images[torch.arange(SIZE), 70 * labels] = 1
    return Digits(images, labels, images[:20], labels[:20])


def spoken() -> SpokenDigits:
    labels = torch.arange(50) % 10
    sounds = torch.rand(50, 1024, generator=torch.Generator().manual_seed(0))
    return SpokenDigits(sounds, labels, sounds[:10], labels[:10])


def test_pairs_have_the_label_and_whole_ones_are_shown_again() -> None:
    data = Recipe("MVAE", broken=0.9, repeats=5).rows(digits(), spoken())
    assert len(data["mask"]) == SIZE + 4 * 20 and int(data["mask"].all(1).sum()) == 5 * 20
    assert len(Recipe("MVAE").rows(digits(), spoken())["mask"]) == SIZE


@pytest.mark.slow
@pytest.mark.parametrize("model", ["MVAE", "DMVAE"])
def test_a_run_generates_either_modality_and_resumes_where_it_stopped(
    model: str, tmp_path: Path
) -> None:
    recipe = Recipe(model, epochs=1, hidden_dim=16)
    run = recipe.train(recipe.rows(digits(), spoken()), tmp_path)
    again = recipe.train(recipe.rows(digits(), spoken()), tmp_path)
    assert again.epochs == 1 and run.history == again.history
    sound = generate(run, "sound", image=digits().test_images)
    assert sound.shape == (20, 1024) and sound.isfinite().all()
    assert generate(run, "image", sound=spoken().test_sounds).max() <= 1


@pytest.mark.slow
def test_the_image_alone_is_scored_given_both(tmp_path: Path) -> None:
    run = train_jmvae(digits(), 1, 0.1, tmp_path)
    tight, plain = image_likelihood(run, digits(), test=20, draws=20)
    assert tight.shape == (20,) and (tight >= plain).all() and (tight < 0).all()


def test_a_classifier_names_what_it_has_learned() -> None:
    data = digits()
    judge = classifier(data.train_images, data.train_labels, 20)
    share, error = accuracy(judge, data.test_images, data.test_labels)
    assert share == 1.0 and error == 0.0
