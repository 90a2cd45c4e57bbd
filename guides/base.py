"""What guides share that read their model as they look back."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor, nn

from ppl_models.errors import InputError

Model = TypeVar("Model", bound=nn.Module)


class ReadingGuide(nn.Module, Generic[Model]):
    """A guide that reads its model by reference: the parameters it owns are its own alone.

    Copy or pickle the two in one container, or the copy of the guide reads from another model.

    Parameters
    ----------
    model
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._story = (model,)  # in a tuple: a reference, not a part

    @property
    def model(self) -> Model:
        """The model looked back at."""
        return self._story[0]


def needed(data: Tensor | None, argument: str = "s", expected: str = "paths (B, T, D)") -> Tensor:
    """Return the data that a guide looks back from.

    Raises
    ------
    InputError
        There are none.
    """
    if data is None:
        raise InputError(argument, "None", expected, "simulate with the model alone")
    return data
