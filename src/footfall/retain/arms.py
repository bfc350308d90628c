"""Arms: who is treated and who is held out, drawn by a hash of our own of the journey and the person.

The same person is in the same arm of a journey for ever, on every machine, whatever was counted before; journeys are
independent of one another. FNV-1a over the bytes (Fowler, Noll & Vo), mixed by the finaliser of MurmurHash3 (Appleby).
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"


def draws(journey: str, person: pa.Array) -> Floats:
    """A number in [0, 1) for each person, float64 (n,), uniform over persons and independent between journeys."""
    text = person.cast(pa.large_string())
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    _, offsets, data = text.buffers()
    at = np.frombuffer(offsets, np.int64, len(text) + 1, text.offset * 8) if len(text) else np.zeros(1, np.int64)
    given: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    out = np.empty(len(text))
    _hash_rows(np.frombuffer(f"{journey}\x1f".encode(), np.uint8), given, at, out)
    return out


@nb.njit(cache=True, nogil=True)
def _hash_rows(salt, data, offsets, out):
    prime = np.uint64(1099511628211)
    start = np.uint64(14695981039346656037)
    for k in range(len(salt)):
        start = (start ^ np.uint64(salt[k])) * prime
    for i in range(len(out)):
        h = start
        for k in range(offsets[i], offsets[i + 1]):
            h = (h ^ np.uint64(data[k])) * prime
        h ^= h >> np.uint64(33)
        h *= np.uint64(0xFF51AFD7ED558CCD)
        h ^= h >> np.uint64(33)
        h *= np.uint64(0xC4CEB9FE1A85EC53)
        h ^= h >> np.uint64(33)
        out[i] = float(h >> np.uint64(11)) * (1.0 / 9007199254740992.0)
