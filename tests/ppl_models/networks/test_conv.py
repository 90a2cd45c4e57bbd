"""Convolutional encoders and decoders: shapes, each picture by itself, skips."""

from __future__ import annotations

import pytest
import torch

from ppl_models.data import resize_frames
from ppl_models.errors import InputError
from ppl_models.networks import ConvDecoder, ConvEncoder, num_halvings
from ppl_models.networks.conv import stage_channels

KINDS = pytest.mark.parametrize("kind", ["dcgan", "vgg"])


@KINDS
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 64, 64)])
@pytest.mark.parametrize("skips", [False, True])
def test_shapes(kind: str, shape: tuple[int, int, int], skips: bool) -> None:
    encoder = ConvEncoder(shape, 5, width=2, kind=kind)
    size = shape[0] * shape[1] * shape[2]
    decoder = ConvDecoder(shape, 5, width=2, kind=kind, skips=skips, out_channels=2 * shape[0])
    pictures = torch.rand(2, 3, size)
    code, maps = encoder.with_maps(pictures)
    assert code.shape == (2, 3, 5) and bool((code.abs() <= 1).all())
    assert len(maps) == num_halvings(shape) == len(encoder.stages)
    assert [part.shape[2] for part in maps] == list(stage_channels(shape, 2))
    assert decoder(code, maps if skips else None).shape == (2, 3, 2 * size)
    one = [part[:1, :1] for part in maps]  # of one picture, for all of them
    assert decoder(code, one if skips else None).shape == (2, 3, 2 * size)
    assert torch.equal(encoder(pictures), code)


def test_channels_double_to_eight_times_at_most() -> None:
    assert stage_channels((1, 128, 128), 3) == (3, 6, 12, 24, 24)


@KINDS
@pytest.mark.parametrize("norm", ["group", "none"])
@pytest.mark.parametrize("width", [2, 16])
def test_a_code_depends_on_its_picture_alone(kind: str, norm: str, width: int) -> None:
    """In training too; with batch normalisation it does not, but in evaluation mode."""
    encoder = ConvEncoder((1, 8, 8), 4, width=width, kind=kind, norm=norm).double()
    pictures = torch.rand(6, 64).double()
    code, maps = encoder.with_maps(pictures)
    assert torch.allclose(encoder(pictures[2:3]), code[2:3], atol=1e-10)
    decoder = ConvDecoder((1, 8, 8), 4, width=width, kind=kind, norm=norm, skips=True).double()
    alone = decoder(code[2:3], [part[2:3] for part in maps])
    assert torch.allclose(alone, decoder(code, maps)[2:3], atol=1e-10)
    batch = ConvEncoder((1, 8, 8), 4, width=width, kind=kind, norm="batch").double()
    for parameter in batch.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    assert not torch.allclose(batch(pictures[:3])[2], batch(pictures)[2], atol=1e-10)
    batch.eval()
    assert torch.allclose(batch(pictures[:3])[2], batch(pictures)[2], atol=1e-10)


@KINDS
def test_skips_carry_what_the_code_does_not(kind: str) -> None:
    decoder = ConvDecoder((1, 8, 8), 4, width=2, kind=kind, skips=True)
    maps = ConvEncoder((1, 8, 8), 4, width=2, kind=kind).with_maps(torch.rand(3, 64))[1]
    code = torch.zeros(3, 4)
    assert not torch.allclose(decoder(code, maps)[0], decoder(code, maps)[1], atol=1e-9)
    plain = ConvDecoder((1, 8, 8), 4, width=2, kind=kind)
    assert torch.equal(plain(code, maps), plain(code))


@KINDS
def test_layers_before_the_first_maps_are_of_each_code(kind: str) -> None:
    """With them a decoder is that of their outputs; without, the first maps are linear in it."""
    decoder = ConvDecoder((1, 8, 8), 4, width=2, kind=kind, hidden_dims=(7, 5)).double()
    rest = ConvDecoder((1, 8, 8), 5, width=2, kind=kind).double()
    rest.load_state_dict({k: v for k, v in decoder.state_dict().items() if "hidden" not in k})
    code = torch.randn(2, 3, 4).double()
    assert torch.allclose(decoder(code), rest(decoder.hidden(code)), atol=1e-12)
    assert [tuple(part.shape) for part in decoder.hidden.parameters()][::2] == [(7, 4), (5, 7)]


def test_kernels_start_small() -> None:
    """N(0, 0.02^2): the deviation of n weights has the error 0.02 / sqrt(2 n)."""
    weight = ConvEncoder((1, 32, 32), 64, width=32).last.weight
    assert abs(weight.std().item() - 0.02) < 5 * 0.02 / (2 * weight.numel()) ** 0.5


@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 4, 4), (1, 8, 16), (8, 8), (0, 8, 8)])
def test_pictures_of_other_sides_are_refused(shape: tuple[int, ...]) -> None:
    for part in (ConvEncoder, ConvDecoder):
        with pytest.raises(InputError, match="frame_shape") as caught:
            part(shape, 4)  # type: ignore[arg-type]
    assert "resize_frames(frames, 64)" in caught.value.cure
    frames = (255 * torch.rand(2, 12, 12)).byte().numpy()
    assert num_halvings((1, *resize_frames(frames, 64).shape[1:])) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"kind": "resnet"}, {"norm": "layer"}, {"width": 0}, {"code_dim": 0}]
)
def test_other_settings_are_refused(wrong: dict[str, object]) -> None:
    for part in (ConvEncoder, ConvDecoder):
        with pytest.raises(InputError, match=next(iter(wrong))):
            part((1, 8, 8), **wrong)  # type: ignore[arg-type]
