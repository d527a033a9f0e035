"""Counter-based random numbers: a function of (key, sample id, index), and of nothing else.

Philox 4x32-10 over whole arrays, so that a sample's draws do not depend on its batch, the order,
the worker or the device.

Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), section 3.3.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from robustssm.typing import FloatArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10

UintArray = npt.NDArray[np.uint64]


def philox(counter: UintArray, key: tuple[int, int]) -> UintArray:
    """Return four random 32-bit words for each counter.

    counter has shape (4, ...), entries below 2^32 held in uint64; so has the result.
    """
    c0, c1, c2, c3 = (c.astype(np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _HALF) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _HALF) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def uniform(name: str, sample_id: npt.NDArray[np.int64], count: int) -> FloatArray:
    """Return draws in [0, 1), shape (samples, count), keyed by `name` and each sample's id.

    53 random bits a draw. sample_id: non-negative, below 2^63.
    """
    digest = hashlib.sha256(name.encode()).digest()
    key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little"))
    blocks = -(-count // 2)
    identity = np.asarray(sample_id, dtype=np.int64).astype(np.uint64)[:, None]
    shape = (len(identity), blocks)
    counter = np.stack(
        [
            np.broadcast_to(identity & _LOW, shape),
            np.broadcast_to(identity >> _HALF, shape),
            np.broadcast_to(np.arange(blocks, dtype=np.uint64), shape),
            np.zeros(shape, dtype=np.uint64),
        ]
    )
    words = philox(counter, key)
    high, low = words[0::2] >> np.uint64(5), words[1::2] >> np.uint64(6)
    draws = (high * np.uint64(1 << 26) + low).astype(np.float64) * 2.0**-53
    result: FloatArray = np.moveaxis(draws, 0, -1).reshape(len(identity), 2 * blocks)[:, :count]
    return result
