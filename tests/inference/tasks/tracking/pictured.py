"""Images of a video that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

GREY = (100, 110, 120)


def images(
    folder: Path, names: Iterable[str], size: tuple[int, int] = (160, 120), grey: int | None = None
) -> Path:
    """Write an image of each name; those of one folder differ in their green."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        colour = (GREY[0], 10 * i % 256 if grey is None else grey, GREY[2])
        Image.new("RGB", size, colour).save(folder / name)
    return folder


def numbered(first: int, last: int, end: str = ".png") -> list[str]:
    """Names as MOTChallenge has them."""
    return [f"{t:06d}{end}" for t in range(first, last + 1)]


def pixels(path: Path) -> np.ndarray:
    """(H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def bomb(path: Path) -> None:
    """Write a small file whose header claims 30,000 by 30,000 pixels."""
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(10**6))), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
