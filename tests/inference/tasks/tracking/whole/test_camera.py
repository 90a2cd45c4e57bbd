"""The camera: its posterior is the dense Gaussian's, simulated ones are found, others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.tasks.tracking import WholeSettings, track
from inference.tasks.tracking.whole import camera
from inference.tasks.tracking.whole.camera import CameraLaw, at_rest, in_image, read_camera
from inference.tasks.tracking.whole.chains import Design, find_tracklets
from inference.tasks.tracking.whole.errors import ErrorLaw, learn_errors
from inference.tasks.tracking.whole.video import Video
from ppl_models.data import Scene, simulate_scenes
from ppl_models.mot import apply_camera
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, video_of, walk

LENGTH = 12


def learn_camera(
    video: Video, runs: list[np.ndarray], errors: ErrorLaw, law: CameraLaw
) -> np.ndarray | None:
    """The path that is read, without its cost."""
    found = read_camera(video, runs, errors, law)
    return None if found is None else found.path


def crowd(path: np.ndarray, length: int = LENGTH, noise: float = 0.5) -> Video:
    """Six who walk, seen by a camera of a path (T, 4)."""
    rows = [
        row
        for i in range(6)
        for row in walk(
            range(length), 120.0 * i + 100, 60.0 * i + 120, (i - 2.5, 0.3 * i), noise, seed=i
        )
    ]
    video = video_of(boxes_of(sorted(rows)), length)
    centre = torch.tensor(IMAGE, dtype=torch.double) / 2
    moved = apply_camera(
        torch.as_tensor(video.rows.o), torch.as_tensor(path)[video.rows.frame], centre
    )
    return video.moved(moved.numpy())


def runs_of(video: Video) -> list[np.ndarray]:
    """Rows of each walker: one a frame each, in the same order in all frames."""
    frames = np.arange(video.length)
    return [6 * frames + i for i in range(6)]


def shaken(seed: int = 0, length: int = LENGTH, size: float = 5.0) -> np.ndarray:
    path = np.zeros((length, 4))
    path[1:, :2] = size * np.random.default_rng(seed).standard_normal((length - 1, 2))
    return path


@pytest.mark.parametrize("step", [(3.0, 2.0, 0.0, 0.0), (3.0, 0.0, 1e-3, 2e-3), (1, 2, 1e-3, 1e-2)])
def test_path_and_evidence_are_those_of_the_dense_gaussian(step: tuple[float, ...]) -> None:
    """All boxes and the camera at once, lines of a wide prior: to 1e-4, and evidence by 1e-3."""
    video, law = crowd(shaken()), ErrorLaw()
    pieces = [camera._piece(video, rows, law) for rows in runs_of(video)]
    information = camera._Information.of(pieces, [np.ones((4, LENGTH))] * 6, LENGTH)
    gain, path = information.solve(np.array(step))
    moving = np.flatnonzero(np.array(step) > 0)
    early = np.minimum.outer(np.arange(LENGTH), np.arange(LENGTH)) + 1.0
    prior = np.zeros((LENGTH, 4, LENGTH, 4))
    for k in moving:
        prior[:, k, :, k] = step[k] ** 2 * early
    prior = prior.reshape(4 * LENGTH, -1)
    gains, means, total = 0.0, np.zeros(4 * LENGTH), []
    for piece in pieces:
        for d in range(4):
            turn = np.zeros((LENGTH, LENGTH, 4))
            turn[np.arange(LENGTH), piece.frame] = piece.turn[d]
            wide = 1e7 * piece.covariance[d].max() * (piece.line @ piece.line.T)
            noise = piece.covariance[d] + piece.white[d] * np.eye(LENGTH) + wide
            total.append((turn.reshape(LENGTH, -1), noise, piece.o[:, d] - piece.o[:, d].mean()))
    turn = np.concatenate([x[0] for x in total])
    noise = np.zeros((len(turn), len(turn)))
    for i, x in enumerate(total):
        noise[i * LENGTH : (i + 1) * LENGTH, i * LENGTH : (i + 1) * LENGTH] = x[1]
    o = np.concatenate([x[2] for x in total])
    moved = noise + turn @ prior @ turn.T
    means = prior @ turn.T @ np.linalg.solve(moved, o)
    for covariance, sign in ((moved, 1), (noise, -1)):
        gains -= sign * (o @ np.linalg.solve(covariance, o) + np.linalg.slogdet(covariance)[1]) / 2
    assert np.allclose(path.ravel(), means, rtol=0, atol=2e-3 * np.abs(means).max())
    assert gain == pytest.approx(gains, abs=0.05)


def test_a_camera_that_stands_is_none_and_one_that_shakes_is_found() -> None:
    length = 60
    still, truth = np.zeros((length, 4)), shaken(1, length)
    assert learn_camera(crowd(still, length), [*runs_of(crowd(still, length))], LAW, READ) is None
    video = crowd(truth, length)
    path = learn_camera(video, runs_of(video), LAW, READ)
    assert path is not None and (path[:, 2] == 0).all()
    found, true = (np.diff(x[:, :2], axis=0) for x in (path, truth))
    assert all(np.corrcoef(found[:, i], true[:, i])[0, 1] > 0.97 for i in (0, 1))


LAW, READ = ErrorLaw(), CameraLaw()


def test_a_group_that_walks_together_is_no_camera() -> None:
    rows = [row for i in range(8) for row in walk(range(60), 100.0 * i, 300, (4.0, 0), 1.0, seed=i)]
    video = video_of(boxes_of(sorted(rows)), 60)
    runs = [np.arange(60) * 8 + i for i in range(8)]
    assert learn_camera(video, runs, LAW, READ) is None


def test_one_who_jumps_is_no_camera() -> None:
    """Of six, one's boxes are far off in some frames."""
    video = crowd(np.zeros((60, 4)), 60)
    o = video.rows.o.copy()
    o[6 * np.arange(5, 60, 9), 0] += 60
    assert learn_camera(video.moved(o), runs_of(video), LAW, READ) is None


def test_roll_and_zoom_are_found() -> None:
    length, rng = 60, np.random.default_rng(2)
    truth = np.zeros((length, 4))
    truth[1:] = rng.standard_normal((length - 1, 4)) * [4, 4, 0.02, 0.02]
    video = crowd(truth, length)
    path = learn_camera(video, runs_of(video), LAW, READ)
    assert path is not None
    for part in (2, 3):
        assert np.corrcoef(np.diff(path[:, part]), np.diff(truth[:, part]))[0, 1] > 0.9
    back = in_image(at_rest(video, path).rows.o[runs_of(video)], path, video)
    assert np.allclose(back, video.rows.o[runs_of(video)])


@pytest.mark.parametrize(
    "law", [CameraLaw(least=1e9), CameraLaw(fewest=1000), replace(READ, longest=3, fewest=4)]
)
def test_what_is_asked_of_a_camera(law: CameraLaw) -> None:
    video = crowd(shaken(1, 60), 60)
    assert learn_camera(video, runs_of(video), LAW, law) is None


def test_settings_of_the_search_change_the_path_little() -> None:
    video = crowd(shaken(1, 60), 60)
    path = learn_camera(video, runs_of(video), LAW, READ)
    other = CameraLaw(first_step=(0.01, 0.1, 1e-3, 1e-3), longest=30, degrees=8.0)
    again = learn_camera(video, runs_of(video), LAW, other)
    assert path is not None and again is not None
    assert np.corrcoef(np.diff(path[:, 0]), np.diff(again[:, 0]))[0, 1] > 0.97


def test_no_tracklet_says_nothing() -> None:
    assert learn_camera(crowd(np.zeros((LENGTH, 4))), [], LAW, READ) is None
    assert at_rest(crowd(shaken()), None).rows.o.shape == (6 * LENGTH, 4)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scenes(1, people=15.0, length=120, camera="shake", seed=1)[0]


def test_simulated_shakes_are_found_from_their_tracklets(scene: Scene) -> None:
    width, height = map(float, scene.image_size)
    video = Video(scene.detections, 1, 120, (width, height), 25.0)
    runs = find_tracklets(video, Design())
    path = learn_camera(video, runs, learn_errors(video, runs, LAW), READ)
    assert path is not None
    for part, least in ((0, 0.9), (1, 0.85), (3, 0.7)):
        found, true = np.diff(path[:, part]), np.diff(scene.camera[:, part])
        assert np.corrcoef(found, true)[0, 1] > least


def test_tracks_have_the_camera_and_boxes_in_the_image(scene: Scene) -> None:
    """The boxes that are reported lie on the detections, shaken as these are."""
    options = {"image_size": tuple(map(float, scene.image_size)), "rate": 25.0, "frames": (1, 120)}
    [found] = track([scene.detections], **options)  # type: ignore[arg-type]
    assert found.camera.shape == (120, 4) and found.camera[:, :2].std() > 1
    has = found.detection >= 0
    off = found.mean[has] - video_rows(scene)[found.detection[has]]
    assert np.abs(np.median(off[:, :2], 0)).max() < 1 and np.abs(off[:, 0]).mean() < 4
    [off_] = track([scene.detections], settings=WholeSettings(camera=None), **options)  # type: ignore[arg-type]
    assert (off_.camera == 0).all()


def video_rows(scene: Scene) -> np.ndarray:
    width, height = map(float, scene.image_size)
    return Video(scene.detections, 1, 120, (width, height), 25.0).rows.o


def test_the_cost_is_what_is_lost_by_taking_the_path_as_given() -> None:
    """Log p(boxes | path) - log p(boxes), both against a camera that stands, by dense matrices."""
    video = crowd(shaken())
    pieces = [camera._piece(video, rows, LAW) for rows in runs_of(video)]
    information = camera._Information.of(pieces, [np.ones((4, LENGTH)) for _ in pieces], LENGTH)
    step = np.array([5.0, 4.0, 0.0, 0.0])
    gain, path = information.solve(step)
    size = len(information.vector)
    dense = np.zeros((size, size))
    for away, row in enumerate(information.band):
        low = np.diag(row[: size - away], -away)
        dense += low if away == 0 else low + low.T
    flat = path.ravel()
    given = information.vector @ flat - flat @ dense @ flat / 2
    cost = camera._cost(information, camera._Found(gain, path, step))
    assert cost == pytest.approx(given - gain, rel=1e-6) and cost > 0
