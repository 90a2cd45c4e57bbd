from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.metrics.tracking import overlaps, score
from inference.tasks.tracking import svi as tracking_svi
from inference.tasks.tracking.batch import TrackerSettings, frames_of, prepare, to_centre, to_ltwh
from inference.tasks.tracking.known_number import (
    MOTION_SCALES,
    coordinate_ascent,
    source_pair,
    starts_of,
)
from inference.tasks.tracking.track import track
from ppl_models.data.motchallenge import Boxes, read_boxes, read_ground_truth
from tests.clips import overlap, shuffled, walkers

OWN = TrackerSettings(lasting_errors=False)

HARD: dict[str, Any] = {"length": 40, "drop": 0.3, "gap": 10, "clutter": 0.3}
MOT17 = Path(__file__).parents[5] / "shared" / "data" / "mot17"


def accuracy(tracks: Any, truth: NDArray[np.float64]) -> float:
    return float(overlap(tracks.boxes, truth).mean())


@pytest.mark.parametrize(
    ("prior", "seed"), [("deepar", 0), ("deepar", 1), ("linear", 0), ("srnn", 0)]
)
def test_objects_are_followed_through_gaps_drops_and_clutter(prior: Any, seed: int) -> None:
    """All boxes of all three, frame by frame, are those of one object each."""
    clip = walkers(**HARD, seed=seed)
    [tracks] = track([clip.boxes], objects=3, frames=(1, 40), prior=prior)
    each = overlap(tracks.boxes, clip.truth)
    assert each.mean() > 0.8 and each.min() > 0.5
    assert tracks.objective.shape == (10,) and np.isfinite(tracks.objective).all()
    assert np.isfinite(tracks.elbo) and (tracks.elbo_error == 0) == (prior == "linear")


def test_detections_are_given_to_their_objects() -> None:
    clip = walkers(**HARD)
    [tracks] = track([clip.boxes], objects=3, frames=(1, 40))
    detections, assignment = tracks.detections, tracks.assignment
    assert tracks.responsibilities.shape == (*assignment.shape, 4)
    for t in range(40):
        near = overlaps(tracks.boxes[:, t], detections[t][assignment[t] >= 0])
        mine = assignment[t][assignment[t] >= 0]
        for k, n in enumerate(mine):
            assert near[:, k].argmax() == n if n < 3 else near[:, k].max() < 0.5


@pytest.fixture
def quick_svi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge an end by fewer draws: half of the time of a short run."""
    monkeypatch.setattr(tracking_svi, "LAST_DRAWS", 2)


@pytest.mark.usefixtures("quick_svi")
def test_svi_follows_them_too() -> None:
    clip = walkers(8, 2, drop=0.1)
    settings: dict[str, Any] = {
        "method": "svi",
        "prior": "linear",
        "settings": TrackerSettings(steps=10),
    }
    [tracks] = track([clip.boxes], objects=2, frames=(1, 8), **settings)
    assert accuracy(tracks, clip.truth) > 0.8
    assert np.isfinite(tracks.elbo) and tracks.responsibilities.shape[-1] == 3


def test_files_of_different_lengths_are_each_followed_as_if_alone() -> None:
    """To a thousandth of a pixel: the linear prior draws nothing, and padding changes nothing.

    Bands are the mixture's own here: errors that last are learned from all files together.
    """
    clips = [
        walkers(length, seed=seed, first=first, drop=0.2, name=f"clip {seed}")
        for seed, (length, first) in enumerate([(12, 1), (25, 4), (18, 300)])
    ]
    options: dict[str, Any] = {"prior": "linear", "settings": OWN}
    together = track([clip.boxes for clip in clips], objects=3, **options)
    assert [one.name for one in together] == ["clip 0", "clip 1", "clip 2"]
    for clip, tracks in zip(clips, together, strict=True):
        [alone] = track([clip.boxes], objects=3, **options)
        assert (tracks.first, tracks.mean.shape) == (alone.first, alone.mean.shape)
        assert np.abs(tracks.boxes - alone.boxes).max() < 1e-3
        assert np.abs(tracks.sd - alone.sd).max() < 1e-3
        assert np.array_equal(tracks.assignment, alone.assignment)
        assert tracks.elbo == pytest.approx(alone.elbo, abs=1e-3)


def test_ranges_of_frames_are_cut_out() -> None:
    clips = [walkers(20, seed=seed) for seed in (0, 1)]
    both = track([clip.boxes for clip in clips], objects=3, frames=(5, 12), prior="linear")
    assert [one.first for one in both] == [5, 5]
    assert accuracy(both[1], clips[1].truth[:, 4:12]) > 0.8
    each = track(
        [clip.boxes for clip in clips], objects=3, frames=[(5, 12), (1, 20)], prior="linear"
    )
    assert [one.mean.shape[1] for one in each] == [8, 20]
    assert np.abs(each[0].boxes - both[0].boxes).max() < 1e-3


def test_the_order_of_detections_means_nothing() -> None:
    clip = walkers(**HARD)
    one, two = (
        track([boxes], objects=3, frames=(1, 40))[0] for boxes in (clip.boxes, shuffled(clip.boxes))
    )
    assert not np.array_equal(one.detections, two.detections, equal_nan=True)
    assert np.abs(one.boxes - two.boxes).max() < 1e-6


@pytest.mark.usefixtures("quick_svi", "untouched")
@pytest.mark.parametrize("method", ["vem", "svi"])
def test_the_same_seed_gives_the_same_tracks(method: Any) -> None:
    clip = walkers(6, 2)
    one, two, other = (
        track(
            [clip.boxes],
            objects=2,
            prior="srnn",
            method=method,
            seed=seed,
            settings=TrackerSettings(steps=3),
        )[0]
        for seed in (3, 3, 4)
    )
    assert np.array_equal(one.mean, two.mean) and one.elbo == two.elbo
    # VEM draws nothing
    assert np.array_equal(one.mean, other.mean) == (method == "vem")


@pytest.mark.parametrize("prior", ["linear", "deepar", "srnn"])
def test_one_object(prior: Any) -> None:
    clip = walkers(15, 1, drop=0.2)
    [tracks] = track([clip.boxes], objects=1, frames=(1, 15), prior=prior)
    assert tracks.mean.shape == (1, 15, 4) and accuracy(tracks, clip.truth) > 0.8


@pytest.mark.parametrize("objects", [1, 3, 5])
def test_one_frame_with_three_detections(objects: int) -> None:
    clip = walkers(1, 3)
    [tracks] = track([clip.boxes], objects=objects)
    assert tracks.mean.shape == (objects, 1, 4) and np.isfinite(tracks.sd).all()
    best = overlaps(tracks.boxes[:, 0], clip.truth[:, 0]).max(0 if objects > 3 else 1)
    assert (best > 0.8).all()


def test_frames_without_any_detection() -> None:
    """Objects stay where the prior leaves them: in the doubt of a unit of height or so."""
    nothing = Boxes(*(np.zeros(0, int),) * 2, np.zeros((0, 4)), np.zeros(0), "empty")
    [tracks] = track([nothing], objects=2, frames=(3, 8), prior="linear")
    assert tracks.mean.shape == (2, 6, 4) and tracks.first == 3
    assert np.isfinite(tracks.boxes).all() and (tracks.assignment == -1).all()


@pytest.mark.parametrize("gone", [range(1, 11), range(6, 16), range(11, 21)])
def test_half_of_the_clip_without_any_detection(gone: range) -> None:
    """Where nothing is detected doubt grows, most where only one side of it is detected."""
    clip = walkers(20)
    kept = clip.boxes.select(~np.isin(clip.boxes.frame, gone))
    [tracks] = track([kept], objects=3, frames=(1, 20), prior="linear", settings=OWN)
    missed = np.isin(np.arange(1, 21), gone)
    assert overlap(tracks.boxes[:, ~missed], clip.truth[:, ~missed]).mean() > 0.8
    least = 1.3 if gone.start == 6 else 3.0
    assert tracks.sd[:, missed, :2].mean() > least * tracks.sd[:, ~missed, :2].mean()
    if gone.start == 6:
        assert accuracy(tracks, clip.truth) > 0.8
    z = (tracks.mean[..., :2] - _by_track(tracks, clip.truth)[..., :2]) / tracks.sd[..., :2]
    assert np.abs(z[:, missed]).max() < 5


def _by_track(tracks: Any, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The true centres (N, T, 4) in the order of the tracks, matched by the first coordinate y."""
    order = np.argsort(np.argsort(tracks.mean[..., 1].mean(1)))
    centres = to_centre(truth)
    return centres[np.argsort(centres[..., 1].mean(1))][order]


def test_fewer_detections_than_objects_in_the_first_frames() -> None:
    """The object not detected before frame 6 is where it was to be, and is numbered last."""
    clip = walkers(20)
    top = clip.boxes.ltwh[:, 1] < 300
    kept = clip.boxes.select(~top | (clip.boxes.frame > 5))
    [tracks] = track([kept], objects=3)
    assert overlap(tracks.boxes, clip.truth).min() > 0.5
    assert tracks.mean[..., 1].mean(1).argmin() == 2


def test_more_detections_than_objects_in_every_frame() -> None:
    """Five people, three to be followed: each track keeps to one."""
    clip = walkers(20, 5)
    [tracks] = track([clip.boxes], objects=3)
    each = [overlap(tracks.boxes[[n]], clip.truth[[m]]) for n in range(3) for m in range(5)]
    best = np.array([x.min() for x in each]).reshape(3, 5)
    assert (best.max(1) > 0.5).all() and len(set(best.argmax(1))) == 3


def test_without_clutter_each_detection_is_of_an_object() -> None:
    clip = walkers(12, 2)
    [tracks] = track([clip.boxes], objects=2, clutter=False)
    assert tracks.responsibilities.shape[-1] == 2
    assert set(np.unique(tracks.assignment)) == {0, 1}
    assert accuracy(tracks, clip.truth) > 0.8


def test_the_image_s_size_sets_the_density_of_clutter() -> None:
    clip = walkers(12, 2)
    padded = [clip.boxes.padded(1, 12)]
    own, small, large = (prepare(padded, size) for size in (None, (1920, 1080), (19200, 10800)))
    assert (large.log_clutter - small.log_clutter).item() == pytest.approx(-math.log(100), 1e-6)
    assert small.region[0, :, :2].tolist() == [[0, 0], [1920, 1080]]
    centres = own.o[own.mask]
    assert (centres >= own.region[0, 0]).all() and (centres <= own.region[0, 1]).all()
    given, not_given = (
        track([clip.boxes], objects=2, image_size=size, prior="linear")[0]
        for size in ((1920, 1080), None)
    )
    assert np.abs(given.boxes - not_given.boxes).max() < 5
    assert given.elbo != not_given.elbo


def test_detections_out_of_the_image_widen_it() -> None:
    clip = walkers(12, 2)
    region = prepare([clip.boxes.padded(1, 12)], (100, 50)).region[0]
    assert region[1, 0] > 100 and region[1, 1] > 50 and (region[0, :2] == 0).all()


def test_a_filter_is_a_kalman_filter() -> None:
    """VKF, one object, one detection a frame: written out in numpy, coordinate by coordinate."""
    clip = walkers(15, 1, drop=0.2, seed=3)
    model = replace(OWN, smooth=False)
    [tracks] = track(
        [clip.boxes],
        objects=1,
        frames=(1, 15),
        prior="linear",
        clutter=False,
        iterations=1,
        settings=model,
    )
    motion: Any = source_pair("linear")[0]
    o = to_centre(tracks.detections[:, 0])
    size = np.concatenate([tracks.detections[:, 0, 2:], np.ones((15, 2))], -1)
    first = int(np.flatnonzero(~np.isnan(o[:, 0]))[0])
    t = np.flatnonzero(~np.isnan(o[:, 0]))
    height = np.exp(np.median(np.interp(np.arange(15), t, o[t, 3])))
    for d, unit in enumerate((height, height, 1.0, 1.0)):
        speed, change, step = (
            unit * p[d].exp().item()
            for p in (motion.log_speed, motion.log_speed_noise, motion.log_position_noise)
        )
        a = motion.decay[d].item()
        x = np.array([o[first, d], 0.0])
        p = np.diag([(unit * motion.start_scale) ** 2, speed**2])
        f, q = np.array([[1, a], [0, a]]), change**2 * np.ones((2, 2)) + np.diag([step**2, 0])
        for frame in range(15):
            if frame:
                x, p = f @ x, f @ p @ f.T + q
            if not np.isnan(o[frame, d]):
                gain = p[:, 0] / (p[0, 0] + (model.noise * size[frame, d]) ** 2)
                x, p = x + gain * (o[frame, d] - x[0]), p - np.outer(gain, p[0])
            assert tracks.mean[0, frame, d] == pytest.approx(x[0], rel=1e-6, abs=1e-6)
            assert tracks.sd[0, frame, d] ** 2 == pytest.approx(p[0, 0], rel=1e-6)
    assert np.isnan(tracks.elbo) and np.isnan(tracks.objective).all()


@pytest.mark.parametrize("prior", ["linear", "deepar"])
def test_filters_follow_easy_clips(prior: Any) -> None:
    clip = walkers(15, 2)
    [tracks] = track([clip.boxes], objects=2, prior=prior, settings=TrackerSettings(smooth=False))
    assert accuracy(tracks, clip.truth) > 0.8


def test_the_start_with_the_highest_bound_is_kept() -> None:
    clip = walkers(**HARD, seed=5)
    [tracks] = track([clip.boxes], objects=3, frames=(1, 40), prior="linear")
    batch = prepare([clip.boxes.padded(1, 40)])
    starts = starts_of(batch, [40], 3, TrackerSettings())
    assert len(starts) == len(MOTION_SCALES)
    ends = [coordinate_ascent(batch, start, "linear", TrackerSettings()) for start in starts]
    assert tracks.elbo == max(end.elbo.item() for end in ends)


def test_the_exact_prior_s_bound_never_falls() -> None:
    [tracks] = track([walkers(**HARD).boxes], objects=3, frames=(1, 40), prior="linear")
    assert np.diff(tracks.objective).min() > -1e-8
    assert tracks.elbo == tracks.objective[-1]


def test_the_noise_found_is_the_noise_put_in() -> None:
    """To a sixth: 360 coordinates say it to 4 %, and count as much as 20 of the prior, at 0.04."""
    for noise in (0.02, 0.06):
        clip = walkers(30, 3, noise=noise)
        [tracks] = track([clip.boxes], objects=3, prior="linear")
        assert tracks.noise == pytest.approx(noise, rel=0.16)


def test_boxes_there_and_back() -> None:
    boxes = np.array([[10.0, 20, 30, 60], [-5, 0, 1, 2.5]])
    centre = to_centre(boxes)
    assert centre[0].tolist() == [25, 50, math.log(30), math.log(60)]
    assert np.allclose(to_ltwh(centre), boxes)


def test_a_path_s_frame_is_its_beginning_and_its_height() -> None:
    start = torch.zeros(1, 1, 3, 4).double()
    start[..., 0], start[..., 3] = torch.tensor([7.0, 8, 9]), torch.tensor([4.0, 5, 9]).double()
    origin, unit = frames_of(start, torch.tensor([3]))
    assert origin.tolist() == [[[7, 0, 0, 4]]]
    assert torch.allclose(unit, torch.tensor([math.exp(5), math.exp(5), 1, 1]).double())
    _, unit = frames_of(start, torch.tensor([1]))  # and what is padded is not of the path
    assert unit[0, 0, 0].item() == pytest.approx(math.exp(4))


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["linear", "deepar"])
def test_credible_boxes_hold_what_they_say(prior: Any) -> None:
    """50, 80 and 95 % to 5 points, on clips that the model itself generated: the issue's figure."""
    from benchmarks.calibration import FRAMES, IMAGE, OBJECTS, report, simulated

    boxes, truth = simulated(40, seed=11, prior=prior)
    # there are no errors that last in these clips
    options = {"frames": (1, FRAMES), "image_size": IMAGE, "prior": prior, "settings": OWN}
    tracks = track(boxes, objects=OBJECTS, **options)
    for level, held in report("test", tracks, truth).items():
        assert held == pytest.approx(100 * level, abs=5)


@pytest.mark.slow
@pytest.mark.skipif(not MOT17.exists(), reason=f"no real data in {MOT17}")
@pytest.mark.parametrize("sequence", ["MOT17-04", "MOT17-09"])
def test_real_people_are_followed(sequence: str) -> None:
    """Those three who are boxed most often in 60 frames, of those who are there throughout."""
    truth = read_ground_truth(MOT17 / sequence / "gt.txt").between(1, 60)
    detections = read_boxes(MOT17 / sequence / "det.txt").confident().between(1, 60)
    found: dict[int, list[int]] = {}
    for frame in range(1, 61):
        theirs, mine = (np.flatnonzero(x.frame == frame) for x in (truth, detections))
        if not len(mine):
            continue
        iou = overlaps(truth.ltwh[theirs], detections.ltwh[mine])
        for row, k in enumerate(iou.argmax(1)):
            if iou[row, k] > 0.5 and iou[:, k].argmax() == row:
                found.setdefault(int(truth.id[theirs[row]]), []).append(int(mine[k]))
    throughout = [i for i in found if (truth.id == i).sum() == 60]
    three = sorted(throughout, key=lambda i: -len(found[i]))[:3]
    rows = np.isin(np.arange(len(detections)), [row for i in three for row in found[i]])
    [tracks] = track([shuffled(detections.select(rows))], objects=3, frames=(1, 60))
    result = score(truth.select(np.isin(truth.id, three)), tracks.as_boxes())
    assert len(three) == 3 and result.boxes == 180
    assert result.mota > 95 and result.ids == 0


def test_what_the_model_says_of_clutter_is_read() -> None:
    """With a model in which all is clutter, it believes less of a stray box."""
    clip = walkers(12, 2, clutter=0.5, seed=1)
    shares = []
    for weight in (0.01, 0.5):
        model = replace(TrackerSettings(), clutter_weight=weight)
        [tracks] = track([clip.boxes], objects=2, prior="linear", settings=model)
        shares.append(tracks.responsibilities[..., -1].sum())
    assert shares[1] > shares[0]
