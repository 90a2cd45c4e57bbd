"""What guides share: the model each is built for, and the checks of what it is called with."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor, nn

from ppl_models.errors import InputError

Model = TypeVar("Model", bound=nn.Module)


class ReadingGuide(nn.Module, Generic[Model]):
    """A guide that reads its model: sizes, features of data, and parameters, if it needs any.

    The model is held by reference and is no submodule, so the guide's parameters and ``state_dict``
    are its own alone. Copy or pickle the two in one container: the copy of a guide by itself comes
    with a copy of the model.

    Parameters
    ----------
    model

    Raises
    ------
    InputError
        It is no module: sizes, say.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            name, cure = type(self).__name__, f"build the model first: {type(self).__name__}(model)"
            raise InputError("model", repr(model), f"the model whose posterior {name} is", cure)
        self._model = (model,)  # in a tuple: a reference, not a submodule

    @property
    def model(self) -> Model:
        """The model whose posterior this approximates."""
        return self._model[0]


class EmptyGuide(ReadingGuide[Model]):
    """The guide of a model that leaves no latent site to sample: the bound is the evidence."""

    def forward(self, *data: Tensor | None, **named: Tensor | None) -> None:
        """Sample nothing, whatever the data."""


def needed(data: Tensor | None, argument: str = "s", expected: str = "paths (B, T, D)") -> Tensor:
    """Return the data that a guide conditions on.

    Raises
    ------
    InputError
        There are none.
    """
    if data is None:
        raise InputError(argument, "None", expected, "simulate with the model alone")
    return data
