"""Counter-based random words and draws in numpy: functions of (name, identity, index) alone.

Philox 4x32-10 over whole arrays, in integer arithmetic that every machine has.

Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), section 3.3.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from robustssm.typing import FloatArray, IntArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF
ROUNDS = 10
# Counters worked on at a time: what a processor's cache holds.
_CHUNK = 1 << 14

Words = npt.NDArray[np.uint64]


def random_words(counter: Words, key: tuple[int, int]) -> Words:
    """Return four random 32-bit words for each counter.

    counter: (4, ...), entries in [0, 2^32); so has the result.
    """
    each = (2, *[1] * (counter.ndim - 1))
    multipliers, weyl, keys = (
        np.array(pair, dtype=np.uint64).reshape(each) for pair in (MULTIPLIERS, WEYL, key)
    )
    low, half = np.uint64(LOW), np.uint64(32)
    # Words 0 and 2, and words 1 and 3.
    even, odd = counter[0::2], counter[1::2]
    for _ in range(ROUNDS):
        product = even * multipliers
        even = (product >> half)[::-1] ^ odd
        even ^= keys
        product &= low
        odd = product[::-1]
        keys = (keys + weyl) & low
    return np.stack([even[0], odd[0], even[1], odd[1]])


def key_of(name: str) -> tuple[int, int]:
    """Return the two 32-bit words of the key that a name stands for."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def uniform(name: str, identity: IntArray, count: int) -> FloatArray:
    """Return draws in [0, 1), shape (len(identity), count), float64, keyed by name and identity.

    53 random bits a draw. identity: non-negative, below 2^63.
    """
    key, blocks = key_of(name), -(-count // 2)
    identity = np.asarray(identity).astype(np.uint64)
    total = len(identity) * blocks
    result = np.empty((total, 2))
    for start in range(0, total, _CHUNK):
        number = np.arange(start, min(start + _CHUNK, total))
        counter = np.zeros((4, len(number)), dtype=np.uint64)
        sample = identity[number // blocks]
        counter[0], counter[1], counter[2] = sample & LOW, sample >> 32, number % blocks
        words = random_words(counter, key)
        # 27 bits of one word and 26 of the next.
        bits = ((words[0::2] >> 5) << 26) + (words[1::2] >> 6)
        np.multiply(bits.T, 2.0**-53, out=result[start : start + _CHUNK])
    return result.reshape(len(identity), 2 * blocks)[:, :count]
