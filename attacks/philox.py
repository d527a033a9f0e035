"""Counter-based random numbers: a function of (key, sample id, index), and of nothing else.

Philox 4x32-10 over whole arrays, in integer arithmetic that every device has, so that a sample's
draws do not depend on its batch, the order, the worker or the device.

Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), section 3.3.
"""

import math

import torch
from torch import Tensor

from robustssm import philox as core
from robustssm.philox import LOW, MULTIPLIERS, ROUNDS, WEYL
from robustssm.typing import IntArray


def philox(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Return four random 32-bit words for each counter.

    counter: int64 of shape (4, ...), entries in [0, 2^32); so has the result.
    """
    if counter.device.type == "cpu":
        words = core.random_words(counter.numpy().astype("uint64"), key)
        return torch.from_numpy(words.astype("int64"))
    return _rounds(counter, key)


def _rounds(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Return the same where there are no unsigned integers: on GPUs."""
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


def uniform(
    name: str, sample_id: IntArray, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return draws in [0, 1), shape (samples, count), float64, keyed by `name` and sample id.

    53 random bits a draw, the same bits on every device. sample_id: non-negative, below 2^63.
    """
    if torch.device(device).type == "cpu":
        return torch.from_numpy(core.uniform(name, sample_id, count))
    key, blocks = core.key_of(name), -(-count // 2)
    identity = torch.as_tensor(sample_id, dtype=torch.int64, device=device)
    number = torch.arange(len(identity) * blocks, device=device)
    sample = identity[number // max(blocks, 1)]
    words = philox(
        torch.stack(
            [sample & LOW, sample >> 32, number % max(blocks, 1), torch.zeros_like(number)]
        ),
        key,
    )
    # 27 bits of one word and 26 of the next.
    bits = ((words[0::2] >> 5) << 26) + (words[1::2] >> 6)
    return (bits.T.double() * 2.0**-53).reshape(len(identity), 2 * blocks)[:, :count]


def normal(
    name: str, sample_id: IntArray, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return standard normal draws, shape (samples, count), float64, keyed as `uniform`.

    Reference: Box and Muller, Ann. Math. Stat. 29 (1958), equation (1).
    """
    draws = uniform(name, sample_id, 2 * -(-count // 2), device)
    radius = torch.sqrt(-2.0 * torch.log1p(-draws[:, 0::2]))
    angle = 2.0 * math.pi * draws[:, 1::2]
    pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return pairs.flatten(1)[:, :count]
