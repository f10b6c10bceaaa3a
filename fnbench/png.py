"""PNG files of normals and masks: 8 or 16 bits per channel, exactly as stored.

The usual image libraries turn 16-bit colour into 8 bit without a word, so the format is read and written here: chunks,
checksums, zlib, the five filters. Colour management chunks are ignored, because the numbers are no colours.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import compiled
from fnbench.errors import InvalidPredictionError
from fnbench.files import replacing

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 200_000_000
_COLOURS = {0: ("grey", 1), 2: ("RGB", 3), 3: ("palette", 1), 4: ("grey with alpha", 2), 6: ("RGB with alpha", 4)}


@dataclass(frozen=True, slots=True)
class PngHeader:
    """Size, bits per channel and colour type of a PNG file."""

    width: int
    height: int
    bits: int
    colour: str
    channels: int
    interlaced: bool


def png_header(head: bytes, where: str) -> PngHeader:
    """The header from the first 33 bytes of a file; InvalidPredictionError when they are no PNG header."""
    if not head.startswith(SIGNATURE) or head[12:16] != b"IHDR" or len(head) < 33:
        raise InvalidPredictionError(f"{where}: no PNG header. Write the file again.")
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", head[16:29])
    name, channels = _COLOURS.get(colour, (f"colour type {colour}", 0))
    if width * height > MAX_PIXELS or not width * height:
        raise InvalidPredictionError(f"{where}: {width}x{height} pixels, expected 1 to {MAX_PIXELS}.")
    return PngHeader(width, height, bits, name, channels, bool(interlace))


def read_png(path: Path) -> NDArray[Any]:
    """(H, W, C) uint8 or uint16 of an 8- or 16-bit PNG file.

    Raises InvalidPredictionError when it is damaged, interlaced, a palette picture, or has fewer than 8 bits.
    """
    data = path.read_bytes()
    header = png_header(data[:33], path.name)
    if header.interlaced or header.bits not in (8, 16) or header.colour == "palette":
        kind = "interlaced" if header.interlaced else f"{header.colour}, {header.bits} bits"
        raise InvalidPredictionError(f"{path.name}: {kind}; expected plain RGB with 8 or 16 bits per channel.")
    stride = header.width * header.channels * header.bits // 8
    packed = b"".join(content for name, content in _chunks(data, path.name) if name == b"IDAT")
    expected = header.height * (stride + 1)
    engine = zlib.decompressobj()
    try:
        raw = engine.decompress(packed, expected + 1)
    except zlib.error as error:
        raise InvalidPredictionError(f"{path.name}: damaged PNG ({error}). Write the file again.") from None
    if len(raw) != expected:
        raise InvalidPredictionError(
            f"{path.name}: damaged PNG, {len(raw)} bytes of pixels, expected {expected}. Write the file again."
        )
    lines = np.frombuffer(raw, np.uint8).reshape(header.height, stride + 1)
    if lines[:, 0].max() > 4:
        raise InvalidPredictionError(f"{path.name}: damaged PNG, unknown filter. Write the file again.")
    pixels = np.zeros((header.height, stride), np.uint8)
    _unfilter(lines, pixels, header.channels * header.bits // 8)
    samples = pixels.view(">u2").astype(np.uint16) if header.bits == 16 else pixels
    return samples.reshape(header.height, header.width, header.channels)


def png_bytes(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A PNG of an (H, W) or (H, W, 3) array of 8 or 16 bits."""
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise ValueError(f"expected (H, W) or (H, W, 3) uint8 or uint16, got {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    depth, kind = 8 * image.dtype.itemsize, 2 if image.ndim == 3 else 0
    rows = image.astype(image.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # each row as its difference to the one above
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def write_png(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write ``png_bytes`` of an array, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(png_bytes(image))


def _chunks(data: bytes, where: str) -> list[tuple[bytes, bytes]]:
    found, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        if len(checksum) < 4 or struct.unpack(">I", checksum)[0] != zlib.crc32(name + content):
            raise InvalidPredictionError(f"{where}: damaged PNG, chunk {name!r} is cut or wrong. Write the file again.")
        found.append((name, content))
        if name == b"IEND":
            return found
        at += 12 + length
    raise InvalidPredictionError(f"{where}: damaged PNG, the end is missing. Write the file again.")


@compiled
def _unfilter(lines: Any, pixels: Any, step: Any) -> Any:  # (H, 1 + S) uint8, (H, S) uint8
    height, stride = pixels.shape
    for r in range(height):
        kind = lines[r, 0]
        for c in range(stride):
            left = np.int64(pixels[r, c - step]) if c >= step else np.int64(0)
            up = np.int64(pixels[r - 1, c]) if r > 0 else np.int64(0)
            corner = np.int64(pixels[r - 1, c - step]) if r > 0 and c >= step else np.int64(0)
            guess = np.int64(0)
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                estimate = left + up - corner
                across, down, diagonal = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
                if across <= down and across <= diagonal:
                    guess = left
                elif down <= diagonal:
                    guess = up
                else:
                    guess = corner
            pixels[r, c] = np.uint8((np.int64(lines[r, c + 1]) + guess) & 255)
