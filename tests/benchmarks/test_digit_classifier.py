from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import digit_classifier as benchmark
from inference.checkpoint import load
from inference.metrics.digits import DigitClassifier
from ppl_models.data.mnist import Digits


def test_weights_ship_in_half_precision_with_what_they_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(30, 784, generator=torch.Generator().manual_seed(0))
    data = Digits(images, torch.arange(30) % 10, images, torch.arange(30) % 10)
    classifier = DigitClassifier((2, 3, 4)).eval()
    report = benchmark.rates(classifier, data, size=250)
    assert set(report) == {
        "right, one", "confidence, one", "right, two", "confidence, two", "confidence, blocks"
    }  # fmt: skip
    assert all(0 <= rate <= 1 for rate in report.values())
    monkeypatch.setattr(benchmark, "WEIGHTS", tmp_path / "digits.safetensors")
    benchmark.ship(classifier, report, steps=0)
    again = DigitClassifier((2, 3, 4))
    kept = load(tmp_path / "digits.safetensors", into=again, model="DigitClassifier")
    assert kept.config == {"widths": [2, 3, 4]}
    assert kept.tensors["head.weight"].dtype is torch.float16
    assert torch.allclose(again.head.weight, classifier.head.weight, atol=1e-3)
    assert classifier.head.weight.dtype is torch.float32  # its own stay as they are
