from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inference.tasks.separation import plot_separation, share_entropy
from inference.tasks.separation.plot import COLUMNS, RANGE
from tests.inference.cli.sounds import separate_many
from tests.inference.speech import STFT_SMALL, voice


def test_entropy_is_0_where_all_is_one_sources_and_1_where_it_is_shared_evenly() -> None:
    shares = torch.tensor([[1.0, 0.5, 0.9], [0.0, 0.5, 0.1]])[:, None]
    third = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    torch.testing.assert_close(share_entropy(shares), torch.tensor([[0.0, 1.0, third]]))
    even = torch.full((3, 2, 4), 1 / 3)
    torch.testing.assert_close(share_entropy(even), torch.ones(2, 4))
    assert not share_entropy(torch.ones(1, 2, 4)).any()


def test_the_panels_are_the_mixture_each_source_and_what_is_unsure() -> None:
    [found] = separate_many([voice()], ["speech", "flute"])
    axes = plot_separation(found, STFT_SMALL, title="mix.wav").axes
    panels, bars = axes[:4], axes[4:]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles[:3] == ["mixture", "speech", "flute"] and "entropy" in titles[3]
    assert [bar.get_ylabel() for bar in bars] == ["power (dB)"] * 3 + ["entropy / log N"]
    assert panels[-1].get_xlabel() == "time (s)" and panels[0].get_ylabel() == "kHz"
    assert panels[0].get_ylim() == (0, 0.5)
    mixture, speech = (np.asarray(panel.images[0].get_array()) for panel in panels[:2])
    o = STFT_SMALL.power(voice()).mT
    wanted = (10 * (o / o.max()).log10()).clamp(min=-RANGE)
    np.testing.assert_allclose(mixture, wanted, atol=1e-2)  # the sources add up to float32
    power = (found.mean[0].abs().square() + found.variance[0]).mT
    wanted = (10 * (power / o.max()).log10()).clamp(min=-RANGE)
    np.testing.assert_allclose(speech, wanted, atol=1e-2)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_long_and_silent_ones_are_drawn_within_their_seconds(level: float) -> None:
    """Of 1,602 frames two together: as many powers as half of them, over the same seconds."""
    [found] = separate_many([level * torch.ones(1600 * 16 + 1)], ["speech"])
    panel = plot_separation(found, STFT_SMALL).axes[1]
    shown = np.asarray(panel.images[0].get_array())
    assert shown.shape == (33, 801) and shown.shape[1] <= COLUMNS
    assert np.isfinite(shown).all()
    assert math.isclose(panel.get_xlim()[1], 1601.5 * 0.016)
