from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.metrics.video import MOST_DB, best_of, psnr, ssim, video_scores
from ppl_models.errors import InputError
from tests.cures import tried


def films(*shape: int, seed: int = 0, noise: float = 20) -> tuple[Tensor, Tensor]:
    """Smooth bytes, and the same with noise."""
    draw = torch.Generator().manual_seed(seed)
    rough = torch.rand(*shape, generator=draw)
    smooth = (rough.cumsum(-1).sin() * rough.cumsum(-2).cos() + 1) * 127
    noisy = smooth + noise * torch.randn(*shape, generator=draw)
    return smooth.round().byte(), noisy.round().clamp(0, 255).byte()


def ssim_by_loops(one: np.ndarray, other: np.ndarray) -> float:
    """Wang 2004, pixel by pixel, of frames mirrored at their borders."""
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    window /= window.sum()
    padded = [np.pad(x.astype(float), 5, mode="reflect") for x in (one, other)]
    values = []
    for row in range(one.shape[0]):
        for column in range(one.shape[1]):
            x, y = (p[row : row + 11, column : column + 11] for p in padded)
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            c1, c2 = 2.55**2, 7.65**2
            light = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            values.append(light * (2 * cov + c2) / (vx + vy + c2))
    return float(np.mean(values))


def test_psnr_is_the_formula() -> None:
    one, other = films(2, 3, 12, 16)
    found = psnr(one, other)
    for clip in range(2):
        for frame in range(3):
            a, b = (x[clip, frame].double() / 255 for x in (one, other))
            exact = 10 * math.log10(1 / float((a - b).square().mean()))
            assert math.isclose(float(found[clip, frame]), exact, rel_tol=1e-5)  # single precision
    assert (psnr(one, one) == MOST_DB).all()
    assert torch.equal(psnr(one.numpy(), other.numpy()), found)
    level = one.clone()
    level[:] = 100
    assert torch.allclose(psnr(level, level + 5), torch.tensor(20 * math.log10(255 / 5)))


@pytest.mark.parametrize("sides", [(11, 11), (16, 23)])
def test_ssim_is_the_formula_pixel_by_pixel(sides: tuple[int, int]) -> None:
    one, other = films(2, *sides)
    exact = [ssim_by_loops(a.numpy(), b.numpy()) for a, b in zip(one, other, strict=True)]
    assert torch.allclose(ssim(one, other), torch.tensor(exact).float(), atol=1e-4)
    assert torch.allclose(ssim(one, one), torch.ones(2), atol=1e-5)
    assert torch.equal(ssim(one, other), ssim(other, one))


def test_ssim_is_that_of_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    one, other = films(30, 32, 40)
    theirs = functional.structural_similarity_index_measure(
        other[:, None].float(), one[:, None].float(), data_range=255.0, reduction="none"
    )
    assert torch.allclose(ssim(one, other), theirs, atol=1e-4)  # both in single precision
    theirs = functional.peak_signal_noise_ratio(
        other.float(), one.float(), data_range=255.0, dim=(1, 2), reduction="none"
    )
    assert torch.allclose(psnr(one, other), theirs, atol=1e-4)


@pytest.mark.parametrize("pixels", [1, 5 * 256 * 3, 5 * 256 * 9])  # parts of clips, two clips
def test_samples_are_scored_as_each_alone_however_many_at_a_time(
    pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = films(3, 4, 16, 16)[0]
    samples = torch.stack([films(3, 4, 16, 16, seed=seed)[1] for seed in range(5)])
    for metric in (psnr, ssim):
        alone = torch.stack([metric(truth, sample) for sample in samples])
        assert torch.allclose(metric(truth, samples), alone, atol=1e-5)
        with monkeypatch.context() as patch:
            patch.setattr("inference.metrics.video._PIXELS", pixels)
            assert torch.allclose(metric(truth, samples), alone, atol=1e-5)


def test_arrays_that_torch_cannot_share_are_read_all_the_same() -> None:
    one, other = (x.numpy() for x in films(2, 3, 12, 12))
    plain = psnr(one, other)
    one.flags.writeable = False
    assert torch.equal(psnr(one, other), plain)
    assert torch.equal(psnr(one[:, ::-1], other[:, ::-1]), plain.flip(1))
    mask = np.broadcast_to(np.array([True, True, False]), (2, 3))
    cut = video_scores(one, other[None], past=1, mask=mask)
    assert torch.allclose(cut.psnr.value, plain[:, 1].double())


def test_a_frame_in_colour_has_the_mean_of_its_channels() -> None:
    one, other = films(2, 4, 3, 16, 16)
    for metric in (psnr, ssim):
        channels = [metric(one[:, :, c], other[:, :, c]) for c in range(3)]
        assert torch.allclose(
            metric(one, other, colour=True), torch.stack(channels).mean(0), atol=1e-5
        )


def test_scores_do_not_change_under_mirrors_nor_with_the_order_of_frames() -> None:
    one, other = films(5, 20, 20)
    for metric in (psnr, ssim):
        plain = metric(one, other)
        assert torch.allclose(metric(one.mT, other.mT), plain, atol=1e-5)
        assert torch.allclose(metric(one.flip(-1), other.flip(-1)), plain, atol=1e-5)
        assert torch.allclose(metric(one.flip(0), other.flip(0)), plain.flip(0), atol=1e-5)
        assert (metric(one, films(5, 20, 20, noise=40)[1]) < plain).all()


def test_the_best_is_chosen_by_whole_clips_not_by_frames() -> None:
    scores = torch.tensor([[[9.0, 1, 1]], [[4, 4, 4]], [[1, 5, 3]]])  # (S=3, B=1, T=3)
    found = best_of(scores)
    assert found.which.tolist() == [1] and found.value.tolist() == [4]
    assert math.isclose(float(found.mean), (11 / 3 + 4 + 3) / 3) and found.worst.tolist() == [3]
    assert math.isnan(found.error)  # one clip
    masked = best_of(scores, torch.tensor([[True, True, False]]))
    assert masked.which.tolist() == [0] and masked.value.tolist() == [5]
    two = best_of(torch.tensor([[[1.0], [2]], [[3], [0]]]))
    assert two.which.tolist() == [1, 0] and math.isclose(two.error, 0.5)  # of 3 and 2


def test_each_metric_has_its_own_best_sample() -> None:
    truth = films(2, 5, 16, 16)[0]
    shifted = (truth.int() + 12).clamp(0, 255).byte()  # lighter: SSIM hardly minds
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    rough = (truth + 9 * noise).round().clamp(0, 255).byte()  # nearer in squares
    found = video_scores(truth, torch.stack([shifted, rough]), past=2)
    assert found.psnr.which.tolist() == [1, 1] and found.ssim.which.tolist() == [0, 0]
    assert torch.allclose(found.psnr.value, psnr(truth, rough)[:, 2:].mean(-1).double())
    assert torch.allclose(found.ssim.value, ssim(truth, shifted)[:, 2:].mean(-1).double())
    still = truth[:, 1:2].expand(2, 3, 16, 16)
    assert torch.allclose(found.copied_psnr, psnr(truth[:, 2:], still).mean(-1).double())
    summary = found.summary()
    assert set(summary) == {
        f"{metric} {part}"
        for metric in ("psnr", "ssim")
        for part in ("best", "mean", "worst", "copied")
    }
    assert math.isclose(summary["psnr best"][0], float(found.psnr.value.mean()))
    assert math.isclose(summary["psnr best"][1], found.psnr.error)


def test_given_frames_do_not_count_and_short_clips_count_by_what_they_have() -> None:
    truth, noisy = films(2, 6, 12, 12)
    before = noisy.clone()
    before[:, :3] = 0
    plain, other = (video_scores(truth, x[None], past=3) for x in (noisy, before))
    assert torch.equal(plain.psnr.value, other.psnr.value)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0, 4:] = False
    short = video_scores(truth, noisy[None], past=3, mask=mask)
    assert torch.allclose(short.psnr.value[0], psnr(truth, noisy)[0, 3].double())
    assert short.psnr.value[1] == plain.psnr.value[1]


def test_clips_in_colour_and_clips_that_stand_still() -> None:
    truth, noisy = films(2, 4, 3, 12, 12)
    found = video_scores(truth, noisy[None], past=1)
    exact = psnr(truth, noisy, colour=True)[:, 1:].mean(-1).double()
    assert torch.allclose(found.psnr.value, exact)
    still = torch.full((2, 4, 12, 12), 7, dtype=torch.uint8)
    constant = video_scores(still, still[None], past=1)
    assert (constant.psnr.value == MOST_DB).all() and (constant.copied_psnr == MOST_DB).all()
    assert torch.allclose(constant.ssim.value, torch.ones(2).double())


def test_half_a_million_frames_would_take_half_a_minute() -> None:
    one, other = films(5120, 32, 32)
    begun = time.process_time()
    ssim(one, other)
    assert time.process_time() - begun < 3  # 0.15 s on the slow core this was written on


def test_floats_are_refused_with_a_cure_that_works() -> None:
    truth, noisy = films(2, 3, 12, 12)
    given = [truth / 255, (truth / 255).numpy(), truth.float(), truth.long()]
    for wrong in (*given, truth.numpy().astype(np.int32)):
        with pytest.raises(InputError, match="truth: saw .*frames") as caught:
            psnr(wrong, noisy)
        (mended,) = tried(caught.value, truth=wrong)
        assert torch.equal(torch.as_tensor(mended), truth)
    bits = truth > 100
    with pytest.raises(InputError) as caught:
        psnr(bits, noisy)
    (mended,) = tried(caught.value, truth=bits)
    assert torch.equal(mended, 255 * bits.byte())
    with pytest.raises(InputError, match="72 numbers not finite"):
        spoilt = torch.where(torch.arange(12) < 1, math.nan, truth / 255)
        psnr(spoilt, noisy)
    with pytest.raises(InputError, match="a list"):
        psnr(truth.tolist(), noisy)


def test_shapes_that_do_not_fit_are_refused() -> None:
    truth, noisy = films(2, 3, 12, 12)
    for wrong in (noisy[:, :2], noisy[..., :-1], noisy[:1], noisy[None, :, :2]):
        with pytest.raises(InputError, match="predicted: saw shape"):
            psnr(truth, wrong)
    with pytest.raises(InputError, match="colours last") as caught:
        psnr(torch.zeros(2, 5, 12, 12, 3, dtype=torch.uint8), noisy)
    (mended,) = tried(caught.value, truth=torch.zeros(2, 5, 12, 12, 3, dtype=torch.uint8))
    assert psnr(mended, mended, colour=True).shape == (2, 5)
    with pytest.raises(InputError, match="leave colour=True out"):
        psnr(truth[None, :, :2], noisy, colour=True)
    with pytest.raises(InputError, match="saw shape \\(12, 12\\)"):
        psnr(truth[0, 0], noisy[0, 0])
    with pytest.raises(InputError, match="nothing empty"):
        psnr(truth[:0], noisy[:0])
    with pytest.raises(InputError, match="11 x 11"):
        ssim(truth[..., :10], noisy[..., :10])


def test_scores_that_cannot_be_chosen_from_are_refused() -> None:
    truth, noisy = films(2, 3, 12, 12)
    for past in (0, 3):
        with pytest.raises(InputError, match="past: saw"):
            video_scores(truth, noisy[None], past=past)
    with pytest.raises(InputError, match="samples\\[None\\]") as caught:
        video_scores(truth, noisy, past=1)
    (mended,) = tried(caught.value, samples=noisy)
    video_scores(truth, mended, past=1)
    with pytest.raises(InputError, match="2 scores not finite"):
        best_of(torch.tensor([[[1.0, math.nan]], [[2, math.inf]]]))
    with pytest.raises(InputError, match=r"scores\[None\]"):
        best_of(torch.zeros(2, 3))
    with pytest.raises(InputError, match="1 clips without frames"):
        best_of(torch.zeros(4, 2, 3), torch.tensor([[True, False, True], [False, False, False]]))
