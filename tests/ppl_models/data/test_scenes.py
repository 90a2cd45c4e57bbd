from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ppl_models.data import DetectorLaw, Scene, simulate_scenes
from ppl_models.data.scene_people import View
from ppl_models.errors import InputError
from ppl_models.mot import apply_camera


def pairs(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each detection of somebody: id, frame, error (R, 4) in boxes, visibility."""
    rows = {
        (frame, n): row
        for row, (frame, n) in enumerate(zip(scene.truth.frame, scene.truth.id, strict=True))
    }
    mine = scene.source > 0
    frame, ids = scene.detections.frame[mine], scene.source[mine]
    row = np.array([rows[pair] for pair in zip(frame, ids, strict=True)], int)
    a, b = scene.detections.ltwh[mine], scene.truth.ltwh[row]
    centre = (a[:, :2] + a[:, 2:] / 2 - b[:, :2] - b[:, 2:] / 2) / b[:, 2:]
    error = np.concatenate([centre, np.log(a[:, 2:] / b[:, 2:])], -1)
    return ids, frame, error, scene.visibility[row]


def test_scenes_repeat_and_each_depends_on_its_number_alone(untouched: None) -> None:
    a, b = simulate_scenes(2, length=30, seed=3), simulate_scenes(1, length=30, seed=3)
    for x, y in zip(a[0][:-1], b[0][:-1], strict=True):
        if isinstance(x, np.ndarray):
            assert np.array_equal(x, y)
        else:
            assert np.array_equal(x.ltwh, y.ltwh) and np.array_equal(x.score, y.score)
    other = simulate_scenes(1, length=30, seed=4)[0]
    assert not np.array_equal(a[0].detections.score[:5], a[1].detections.score[:5])
    assert not np.array_equal(a[0].detections.score[:5], other.detections.score[:5])


def test_truth_is_what_has_its_centre_in_the_image() -> None:
    [scene] = simulate_scenes(1, length=60, people=12, image_size=(640, 480), seed=1)
    centre = scene.truth.ltwh[:, :2] + scene.truth.ltwh[:, 2:] / 2
    assert (centre >= -1e-9).all() and (centre <= np.array([640, 480]) + 1e-9).all()
    assert scene.image_size == (640, 480)
    keys = np.stack([scene.truth.frame, scene.truth.id], 1)
    assert len(np.unique(keys, axis=0)) == len(keys) and scene.truth.id.min() == 1
    assert (scene.visibility >= 0).all() and (scene.visibility <= 1).all()
    assert (scene.source >= 1).sum() + (scene.source == -1).sum() == len(scene.detections)


def test_detection_follows_visibility() -> None:
    """Nobody hidden is detected; of those well seen the law's share: 5 standard errors."""
    law = DetectorLaw(detection=0.9, lapses=0.0)
    scenes = simulate_scenes(4, length=100, people=25, detector=law, seed=2)
    seen = np.concatenate([scene.visibility for scene in scenes])
    found = np.concatenate([pairs(scene)[3] for scene in scenes])
    assert found.min() > 0.2 and (seen < 0.2).mean() > 0.02
    most = (seen >= 0.5).sum()
    assert abs((found >= 0.5).sum() / most - 0.9) < 5 * math.sqrt(0.09 / most)


def test_lapses_last() -> None:
    """Share of lapses 0.5 x 1 / (1 + 0.5): 0.33; with a second each, neighbours agree."""
    law = DetectorLaw(detection=1.0, lapses=0.5, lapse=1.0)
    scenes = simulate_scenes(3, length=200, people=20, camera="still", detector=law, seed=3)
    missed, agree = [], []
    for scene in scenes:
        found = set(zip(scene.detections.frame, scene.source, strict=True))
        good = scene.visibility >= 0.5
        for n in np.unique(scene.truth.id):
            frames = scene.truth.frame[good & (scene.truth.id == n)]
            miss = np.array([(f, n) not in found for f in frames])
            missed.append(miss)
            agree.append(miss[1:] == miss[:-1])
    assert abs(np.concatenate(missed).mean() - 1 / 3) < 0.08  # some 60 independent stretches
    assert np.concatenate(agree).mean() > 0.95


def test_errors_last_and_have_their_scales() -> None:
    """Variance of a box's errors, and correlation of neighbouring frames, over 60 people: 10 %."""
    none = {"bias": 0.0, "scene_bias": (0.0, 0.0)}
    law = DetectorLaw(noise=0.01, lasting_noise=0.04, noise_seconds=0.2, **none)
    scenes = simulate_scenes(4, length=150, people=15, detector=law, fps=25.0, seed=4)
    errors, products = [], []
    for scene in scenes:
        ids, frame, error, _ = pairs(scene)
        errors.append(error)
        order = np.lexsort((frame, ids))
        ids, frame, error = ids[order], frame[order], error[order]
        next_one = (np.diff(ids) == 0) & (np.diff(frame) == 1)
        products.append((error[1:] * error[:-1])[next_one])
    variance = 0.01**2 + 0.04**2
    assert np.concatenate(errors).var() == pytest.approx(variance, rel=0.1)
    together = 0.04**2 * math.exp(-1 / (25 * 0.2))
    assert np.concatenate(products).mean() == pytest.approx(together, rel=0.1)


def test_constant_errors_are_of_each_person_and_of_each_scene() -> None:
    """Without other errors: all frames of one agree, and people vary as much as told, by 25 %."""
    law = DetectorLaw(noise=0.0, lasting_noise=0.0, bias=0.02, scene_bias=(0.2, 0.0))
    widths = []
    for scene in simulate_scenes(6, length=40, people=15, detector=law, seed=4):
        ids, _, error, _ = pairs(scene)
        each = np.stack([error[ids == one].mean(0) for one in np.unique(ids)])
        assert all(np.ptp(error[ids == one], axis=0).max() < 1e-3 for one in np.unique(ids))
        assert each.std(0) == pytest.approx(0.02, rel=0.5)
        widths.append(each[:, 2].mean())
    assert 0.1 < np.std(widths) < 0.4  # six draws of 0.2


def test_clutter_has_its_rate_and_part_of_it_stays() -> None:
    """Counts of 40 empty scenes; lasting clutter is in its place again in the next frame."""
    law = DetectorLaw(clutter=2.0, clutter_lasting=0.5, clutter_seconds=0.4)
    scenes = simulate_scenes(40, length=50, people=0, camera="still", detector=law, seed=5)
    assert all(len(scene.truth) == 0 for scene in scenes)
    counts = np.array([len(scene.detections) / 50 for scene in scenes])
    assert abs(counts.mean() - 2.0) < 5 * counts.std() / math.sqrt(40)
    stays = []
    for scene in scenes:
        for t in range(1, 50):
            now, then = (scene.detections.select(scene.detections.frame == f) for f in (t, t + 1))
            apart = np.abs(now.ltwh[:, None] - then.ltwh[None]) / now.ltwh[:, None, 2:].repeat(
                2, -1
            )
            if apart.size:
                stays += (apart.max(-1) < 0.2).any(1).tolist()
    # half of it, 9 of 10 of these a frame later, 4 of 5 of these found; few by chance
    assert np.mean(stays) == pytest.approx(0.5 * 0.9 * 0.8, abs=0.06)


def test_scores_follow_their_laws() -> None:
    law = DetectorLaw(object_score=(8.0, 2.0), clutter_score=(2.0, 6.0), clutter=4.0)
    scenes = simulate_scenes(3, length=60, people=8, detector=law, seed=6)
    score = np.concatenate([scene.detections.score for scene in scenes])
    of_people = np.concatenate([scene.source > 0 for scene in scenes])
    assert score[of_people].mean() == pytest.approx(0.8, abs=0.01)  # 1,300 scores: 0.003
    assert score[~of_people].mean() == pytest.approx(0.25, abs=0.04)  # lasting ones share theirs


@pytest.mark.parametrize("kind", ["still", "pan", "shake", "walk"])
def test_cameras_start_at_rest_and_do_what_their_name_says(kind: str) -> None:
    scenes = simulate_scenes(6, length=75, people=3, camera=kind, seed=7)
    path = np.stack([scene.camera for scene in scenes])
    assert (path[:, 0] == 0).all() and path.shape == (6, 75, 4)
    moved, turned, zoomed = (np.abs(path[..., i]).max() for i in (0, 3, 2))
    assert (moved > 3) == (kind != "still")
    assert (turned > 0) == (kind in ("shake", "walk")) and (zoomed > 0) == (kind == "walk")
    if kind == "pan":
        assert moved > 50


def test_the_camera_is_that_of_the_story_and_can_be_undone() -> None:
    rng = np.random.default_rng(8)
    view = View.draw(rng, 20, 25.0, "walk", (640, 480))
    box = np.concatenate([rng.uniform(0, 400, (20, 2)), rng.uniform(20, 50, (20, 2))], -1)
    t = np.arange(20)
    seen = view.seen(box, t)
    world = torch.from_numpy(np.concatenate([box[:, :2], np.log(box[:, 2:])], -1))
    expected = apply_camera(world, torch.from_numpy(view.camera), torch.tensor([320.0, 240.0]))
    assert np.allclose(seen[:, :2], expected[:, :2]) and np.allclose(
        np.log(seen[:, 2:]), expected[:, 2:]
    )
    assert np.allclose(view.at_rest(seen, t), box)


def test_people_come_and_go_and_their_number_stays() -> None:
    """Of 12 scenes with 10 expected: at first Poisson; at the end, to one half."""
    scenes = simulate_scenes(12, length=250, people=10, camera="still", seed=9)
    first, last = (
        np.mean([(scene.truth.frame == frame).sum() for scene in scenes]) for frame in (1, 250)
    )
    assert abs(first - 10) < 5 * math.sqrt(10 / 12) and last == pytest.approx(10, rel=0.5)
    born_later = [
        scene.truth.frame[scene.truth.id == n].min() > 1
        for scene in scenes
        for n in np.unique(scene.truth.id)
    ]
    assert 0.3 < np.mean(born_later) < 0.7


def test_more_come_where_they_stay_for_shorter() -> None:
    ids = [
        len(np.unique(simulate_scenes(1, length=200, people=10, stay=s, seed=10)[0].truth.id))
        for s in (4.0, 40.0)
    ]
    assert ids[0] > ids[1] + 8


def test_a_scene_of_any_frame_rate_is_of_the_same_world() -> None:
    """Speeds in boxes a second, at 10 and 30 frames a second: to 15 %."""
    speeds = []
    for fps in (10.0, 30.0):
        scenes = simulate_scenes(
            8, length=int(4 * fps), fps=fps, people=15, camera="still", seed=11
        )
        steps = []
        for scene in scenes:
            order = np.lexsort((scene.truth.frame, scene.truth.id))
            box, ids = scene.truth.ltwh[order], scene.truth.id[order]
            step = np.abs(np.diff(box[:, 0] + box[:, 2] / 2)) / box[1:, 3] * fps
            steps.append(step[(np.diff(ids) == 0) & (np.diff(scene.truth.frame[order]) == 1)])
        speeds.append(np.median(np.concatenate(steps)))
    assert speeds[0] == pytest.approx(speeds[1], rel=0.15)


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"fps": 0.0}, {"people": -1.0}, {"stay": 0.0}, {"camera": "pann"}]
)
def test_what_cannot_be_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        simulate_scenes(1, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="size"):
        simulate_scenes(0)
