r"""The guide of NoisySpeech: q(z | x), by the encoder of the speech, which reads noisy powers.

The encoder starts as it was trained on clean speech, and learns to read it in noise.

References: those of `ppl_models.audio.noisy_speech`.
"""

from __future__ import annotations

from torch import Tensor, nn

from guides.audio.parts import latents_of
from guides.base import ReadingGuide, needed
from ppl_models.audio import SPEECH, NoisySpeech, bins_plate
from ppl_models.errors import InputError


class NoisySpeechGuide(ReadingGuide[NoisySpeech]):
    """q(z | x) of `NoisySpeech`.

    Parameters
    ----------
    model : NoisySpeech
    speech_guide : nn.Module
        Guide of the model's speech, of complex bins (`as_source_pair`).

    Raises
    ------
    InputError
        It is the guide of another model.
    """

    def __init__(self, model: NoisySpeech, speech_guide: nn.Module) -> None:
        super().__init__(model)
        if getattr(speech_guide, "model", model.speech) is not model.speech:
            expected, cure = "the guide of model.speech", "take both from as_source_pair"
            raise InputError("speech_guide", "a guide of another model", expected, cure)
        self.speech_guide = speech_guide

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Sample latents of B noisy recordings x, as the model takes them; return them by name.

        Raises
        ------
        InputError
            ``x`` is missing, has another shape, or is not finite.
        """
        x = needed(x, "x", "noisy recordings (B, T, F)")
        with bins_plate(x, mask, self.model.bins, argument="x") as frames:
            assert frames.s is not None
            return latents_of(self.speech_guide, frames.s, mask, prefix=SPEECH)
