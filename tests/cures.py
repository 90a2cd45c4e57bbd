"""Cures as errors print them, tried: each alternative that is an expression is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

KNOWN = {"torch": torch, "pad_sequence": pad_sequence, "DataLoader": DataLoader}


def expressions(cure: str) -> list[str]:
    """The parts of a cure that are code: the longest ones that parse, and call or index."""
    found: list[str] = []
    at = 0
    while at < len(cure):
        best = next(_ends(cure, at), None)
        if best is None:
            at += 1
        else:
            found.append(cure[at:best])
            at = best
    return found


def _ends(cure: str, start: int) -> Iterator[int]:
    """Ends of an expression that starts here, the furthest first."""
    begins = cure[start].isalpha() or cure[start] == "("
    if not begins or (start and cure[start - 1] not in " ;,"):
        return
    for end in range(len(cure), start, -1):
        try:
            parsed = ast.parse(cure[start:end].strip(), mode="eval").body
        except SyntaxError:
            continue
        parts = parsed.values if isinstance(parsed, ast.BoolOp) else [parsed]
        if all(isinstance(part, ast.Call | ast.Subscript) for part in parts):
            yield end


def tried(error: Any, **names: Any) -> list[Any]:
    """What each expression of an error's cure comes to, given the user's own names."""
    return [evaluated(code, **names) for code in expressions(error.cure)]


def evaluated(code: str, **names: Any) -> Any:
    """What an expression comes to, given the user's own names."""
    return eval(code, {**KNOWN, **names})  # it is our own error that wrote it
