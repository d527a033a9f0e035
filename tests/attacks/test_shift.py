"""Delays, against index arithmetic written out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustssm.attacks import Budget, Site, TimeShift
from robustssm.errors import UsageError
from tests.attacks.cases import signal

WHOLE = Budget(1.0, "mix")


def shifted(p: TimeShift, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
    return p.perturb(x, lengths, np.arange(len(x)), 0, budget=WHOLE, site=Site())


@given(L=st.integers(1, 20), data=st.data())
def test_delays_are_what_they_say(L: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1 - L, L - 1))
    # Whole numbers: x + (T(x) - x) is exact.
    x = torch.arange(1.0, 2.0 * L + 1.0, dtype=torch.float64).view(1, L, 2)
    old = x[0].numpy()
    index = np.arange(L) - steps
    outside = (index < 0) | (index >= L)
    wanted = {"wrap": np.roll(old, steps, axis=0), "edge": old[np.clip(index, 0, L - 1)]}
    wanted["zero"] = np.where(outside[:, None], 0.0, wanted["edge"])
    for fill, value in wanted.items():
        assert (shifted(TimeShift(steps, fill), x)[0].numpy() == value).all()


@pytest.mark.parametrize("steps", [5, -5])
def test_random_delays_are_every_whole_number_up_to_steps(steps: int) -> None:
    x = torch.arange(64.0, dtype=torch.float64)[None, :, None].expand(400, 64, 2)
    after = shifted(TimeShift(steps, draw="random"), x)
    delay = (x - after)[:, 32]
    assert torch.equal(delay[:, 0], delay[:, 1])
    values, counts = np.unique(delay[:, 0].numpy(), return_counts=True)
    assert (values == (np.arange(1, 6) if steps > 0 else np.arange(-5, 0))).all()
    # 80 expected of each, standard deviation 8.
    assert counts.min() > 40 and counts.max() < 120


def test_a_sequence_that_ends_earlier_wraps_at_its_own_end() -> None:
    x = signal(2, 64)
    after = shifted(TimeShift(3, "wrap"), x, torch.tensor([40, 64]))
    # x + (T(x) - x) rounds.
    torch.testing.assert_close(after[0, :40], x[0, :40].roll(3, 0), rtol=0.0, atol=1e-15)


def test_no_steps_are_the_identity() -> None:
    x = signal(2, 64)
    assert torch.equal(shifted(TimeShift(0), x), x)
    assert torch.equal(shifted(TimeShift(0, draw="random"), x), x)


def test_fields_are_checked() -> None:
    with pytest.raises(UsageError, match="expected -63 to 63"):
        shifted(TimeShift(64), signal(2, 64))
    with pytest.raises(UsageError, match="whole number"):
        TimeShift(1.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fill 'none' is unknown"):
        TimeShift(1, "none")
    with pytest.raises(UsageError, match="draw 'up' is unknown"):
        TimeShift(1, draw="up")
