"""Counter-based random words and draws: functions of (name, identity, index) and of nothing else.

Philox 4x32-10 over whole arrays, in integer arithmetic that every machine and device has, so that
a sample's draws do not depend on its batch, the order, the worker or the device. Draws are numpy
arrays, or tensors on the device that needs them; the bits are the same. Where every value of a
signal needs a draw of its own, Philox 4x64-10 gives shorter ones, numpy's on a CPU.

Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), section 3.3.
"""

import hashlib
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustssm.typing import FloatArray, IntArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
# The same of Philox 4x64.
LONG_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
LONG_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
LOW = 0xFFFFFFFF
ROUNDS = 10
# Counters worked on at a time: what a processor's cache holds.
_CHUNK = 1 << 14

Words = npt.NDArray[np.uint64]


def random_words(counter: Words, key: tuple[int, int]) -> Words:
    """Return four random 32-bit words for each counter, (4, ...), of entries in [0, 2^32)."""
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


def random_word_tensors(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Return `random_words` in int64, (4, ...), where there are no unsigned integers: on GPUs."""
    c0, c1, c2, c3 = counter.unbind(0)
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products of two 32-bit words wrap, which leaves their 64 bits as they are.
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = (product1 >> 32).bitwise_and_(LOW).bitwise_xor_(c1).bitwise_xor_(k0)
        c2 = (product0 >> 32).bitwise_and_(LOW).bitwise_xor_(c3).bitwise_xor_(k1)
        c1, c3 = product1.bitwise_and_(LOW), product0.bitwise_and_(LOW)
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return torch.stack([c0, c1, c2, c3])


def uniform_tensor(
    name: str, sample_id: IntArray, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return draws in [0, 1), shape (samples, count), float64, keyed by `name` and sample id.

    53 random bits a draw, the same bits on every device. sample_id: non-negative, below 2^63.
    """
    if torch.device(device).type == "cpu":
        return torch.from_numpy(uniform(name, sample_id, count))
    key, blocks = key_of(name), -(-count // 2)
    identity = torch.as_tensor(sample_id, dtype=torch.int64, device=device)
    number = torch.arange(len(identity) * blocks, device=device)
    sample = identity[number // max(blocks, 1)]
    words = random_word_tensors(
        torch.stack(
            [sample & LOW, sample >> 32, number % max(blocks, 1), torch.zeros_like(number)]
        ),
        key,
    )
    # 27 bits of one word and 26 of the next.
    bits = ((words[0::2] >> 5) << 26) + (words[1::2] >> 6)
    return (bits.T.double() * 2.0**-53).reshape(len(identity), 2 * blocks)[:, :count]


def long_word_tensors(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Return the four random 64-bit words of Philox 4x64-10 for each counter, (4, ...), int64.

    key: two 64-bit words. Integers wrap; the bits are those of unsigned ones.
    """
    c0, c1, c2, c3 = counter.unbind(0)
    for number in range(ROUNDS):
        k0, k1 = (_signed(k + number * weyl) for k, weyl in zip(key, LONG_WEYL, strict=True))
        high0, high1 = (_high(c, m) for c, m in zip((c0, c2), LONG_MULTIPLIERS, strict=True))
        low0, low1 = (c * _signed(m) for c, m in zip((c0, c2), LONG_MULTIPLIERS, strict=True))
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return torch.stack([c0, c1, c2, c3])


def _signed(word: int) -> int:
    """Return the number from -2^63 to 2^63 - 1 with the last 64 bits of a word."""
    return (word + 2**63) % 2**64 - 2**63


def _high(a: Tensor, m: int) -> Tensor:
    """Return the upper 64 bits of the products of a, unsigned in int64, and m."""
    a0, a1, m0, m1 = a & LOW, (a >> 32) & LOW, m & LOW, m >> 32
    middle = a1 * m0 + (((a0 * m0) >> 32) & LOW)
    return a1 * m1 + ((middle >> 32) & LOW) + (((a0 * m1 + (middle & LOW)) >> 32) & LOW)


def dense_tensor(
    name: str, sample_id: IntArray, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return draws in [0, 1), shape (samples, count), float32, keyed by `name` and sample id.

    24 random bits a draw, the same bits on every device: many times faster than `uniform_tensor`,
    whose draws are others. sample_id: as there.
    """
    blocks = -(-count // 8)
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    identity = np.asarray(sample_id, dtype=np.int64)
    if torch.device(device).type == "cpu":
        raw = np.empty((len(identity), 4 * blocks), dtype=np.uint64)
        generator = np.random.Philox(key=key)
        state = generator.state
        for row, sample in zip(raw, identity, strict=True):
            state["state"]["counter"][:] = 0, 0, sample, 0
            generator.state = state
            row[:] = generator.random_raw(4 * blocks)
        words = torch.from_numpy(raw.view(np.int64))
    else:
        words = counted_words(key, torch.as_tensor(identity, device=device), blocks)
    # Two draws of a word, the lower half first.
    bits = words.view(torch.int32) >> 8
    return bits.float().mul_(2.0**-24).add_(0.5)[:, :count]


def counted_words(key: int, identity: Tensor, blocks: int) -> Tensor:
    """Return what numpy's Philox gives each sample, (samples, 4 blocks), on identity's device."""
    # It counts before it draws.
    number = torch.arange(1, blocks + 1, device=identity.device).expand(len(identity), blocks)
    none = torch.zeros_like(number)
    counter = torch.stack([number, none, identity[:, None].expand_as(number), none])
    words = long_word_tensors(counter, (key % 2**64, key >> 64))
    return words.movedim(0, 2).flatten(1).contiguous()


def normal_tensor(
    name: str, sample_id: IntArray, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return standard normal draws, shape (samples, count), float64, keyed as `uniform_tensor`."""
    return normal(uniform_tensor(name, sample_id, 2 * -(-count // 2), device))[:, :count]


def normal(draws: Tensor) -> Tensor:
    """Return standard normal draws made of pairs of uniform ones, (samples, even number).

    Reference: Box and Muller, Ann. Math. Stat. 29 (1958), equation (1).
    """
    radius = torch.sqrt(-2.0 * torch.log1p(-draws[:, 0::2]))
    angle = 2.0 * math.pi * draws[:, 1::2]
    pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return pairs.flatten(1)
