"""What the examples of docstrings speak of without making it: small stand-ins, module by module."""

from __future__ import annotations

CLIPS = """
from sklearn.datasets import load_digits
images = np.kron(load_digits().images[:40] * 15.9, np.ones((2, 2))).astype(np.uint8)
clips = ppl_models.data.moving_digits(images, size=20, length=10, num_digits=1, side=32)
frames, truth, past = clips.frames, clips.frames, 5
samples = np.stack([clips.frames, clips.frames[::-1], clips.frames])
"""
SOUNDS = """
recorded = [wave for wave in ppl_models.data.voices(12, seconds=2.0).waves]
generated = [wave for wave in ppl_models.data.voices(12, seconds=2.0, seed=1).waves]
sources = torch.stack(recorded[:2])
clean, enhanced = recorded[0], recorded[0] + 0.01 * torch.randn(len(recorded[0]))
"""
BOXES = """
[scene] = ppl_models.data.simulate_scenes(1, length=30, people=3)
boxes = zip(scene.detections.frame, scene.detections.ltwh, strict=True)
rows = [f"{int(f)},{i},{','.join(map(str, b))},1" for i, (f, b) in enumerate(boxes)]
Path("det.txt").write_text("\\n".join(rows))
"""
TRACKS = """
truth = [f"{frame},1,{10 * frame},50,20,40,1,1,1" for frame in range(1, 9)]
Path("gt.txt").write_text("\\n".join(truth))
Path("tracks.txt").write_text("\\n".join(f"{row}"[:-4] for row in truth))
"""
VIDEO = """
from tests.inference.video_runs import DESIGNS, blobs, pair
design = DESIGNS["SRVP"]
model, guide = pair(design)
frames = blobs(8, 25)
"""
SPEECH = """
from tests.inference.speech import DESIGNS, pair
design = DESIGNS["LigHTDVAE"]
model, guide = pair("LigHTDVAE")
"""
TABLE = """
from tests.inference.table_runs import DESIGN as design, ORDER, RANGES, rows
model, guide = design.pair(0)
model.start_from(*rows())
extra = {"order": ORDER, "ranges": RANGES}
"""
PAIR = """
import guides, inference
from inference.objectives import Objective
from inference.tracing import bind
model = ppl_models.VAE(4, 2)
guide, x = guides.VAEGuide(model), torch.randn(20, 4)
batches = [x[:10], x[10:]]
"""
MODALITIES = """
import guides
model = ppl_models.MVAE({"image": 4, "sound": 3}, 2)
guide, image, sound = guides.MVAEGuide(model), torch.randn(5, 4), torch.randn(5, 3)
"""
NAMES = {
    "inference.diagnostics.conditional": MODALITIES,
    "inference.metrics.digits": CLIPS,
    "inference.metrics.frechet_frames": CLIPS + "clips = clips.frames",
    "inference.metrics.frechet_speech": SOUNDS,
    "inference.metrics.futures": CLIPS + "from inference.metrics import locate",
    "inference.metrics.locate": CLIPS,
    "inference.metrics.masks": SOUNDS + "from inference.metrics import masked, si_sdr",
    "inference.metrics.speech": SOUNDS,
    "inference.metrics.tracking": TRACKS,
    "inference.metrics.video": CLIPS,
    "inference.objectives.kl_weight": "from inference.schedules import linear",
    "inference.tasks.acquisition.files": TABLE,
    "inference.tasks.speech.files": SPEECH,
    "inference.tasks.tracking.known_number": BOXES,
    "inference.tasks.tracking.track": BOXES,
    "inference.tasks.video.files": VIDEO,
    "inference.tasks.video.forecast": VIDEO,
    "inference.tasks.video.report": VIDEO + "from inference.tasks.video import forecast",
    "inference.training.fit": PAIR,
}
CORPORA = {
    "ppl_models.data.corpora": ("an4",),
    "ppl_models.data.instruments": ("flute",),
    "ppl_models.data.mixtures": ("an4", "flute"),
    "ppl_models.data.speech": ("an4",),
}
"""Folders of ../shared/data, real sounds that no stand-in replaces."""
EXACT = {
    "inference.cli.several",
    "inference.objectives.kl_weight",
    "inference.schedules",
    "ppl_models.citation",
    "ppl_models.data.corpora",
    "ppl_models.data.instruments",
    "ppl_models.data.mixtures",
    "ppl_models.data.speech",
    "ppl_models.data.stft",
}
"""Whose output is the very one; of the others it is of data that are not here, and only alike."""
