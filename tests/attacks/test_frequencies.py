"""The mode grammar, and frequencies in bins, cycles per sample and hertz."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustssm.attacks.frequencies import cycles_per_sample, parse_frequencies, parse_modes
from robustssm.errors import UsageError


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=20))
def test_modes_can_be_listed(modes: set[int]) -> None:
    assert parse_modes(",".join(map(str, modes))) == tuple(sorted(modes))


@given(low=st.integers(0, 500), span=st.integers(0, 100))
def test_ranges_include_both_ends(low: int, span: int) -> None:
    assert parse_modes(f"{low}-{low + span}") == tuple(range(low, low + span + 1))


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "5-3", "1.5", "1,,2", "0-99999999"])
def test_bad_modes(text: str) -> None:
    with pytest.raises(UsageError, match="modes:"):
        parse_modes(text)


@given(low=st.integers(0, 300), count=st.integers(1, 40), step=st.integers(1, 30))
def test_steps_include_both_ends(low: int, count: int, step: int) -> None:
    last = low + (count - 1) * step
    assert parse_modes(f"{low}:{last}:{step}") == tuple(range(low, last + 1, step))
    # An end between two steps is not reached.
    assert parse_modes(f"{low}:{last + step - 1}:{step}") == tuple(range(low, last + 1, step))


def test_the_grammar_by_example() -> None:
    assert parse_modes("1:128:8") == tuple(range(1, 129, 8))
    assert parse_modes("log:1:128:8") == (1, 2, 4, 8, 16, 32, 64, 128)
    assert parse_modes("all", top=4) == (0, 1, 2, 3, 4)
    assert parse_modes("1-3, 2, 9") == (1, 2, 3, 9)
    values = parse_frequencies("0.1:0.5:0.1", unit="cycles")
    # Sums of decimal fractions round in the last place.
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-15)
    np.testing.assert_allclose(parse_frequencies("log:1:100:3", unit="hz"), [1, 10, 100])


@pytest.mark.parametrize(
    "text", ["all", "log:0:8:2", "log:8:1:3", "log:1:8", "1:8:0", "8:1:1", "1:8:0.5", "nan:8:1"]
)
def test_bad_lists(text: str) -> None:
    with pytest.raises(UsageError, match="modes:") as caught:
        parse_modes(text)
    assert "\n" not in str(caught.value)


@given(L=st.integers(2, 400), data=st.data())
def test_units_are_the_same_frequency(L: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, L // 2))
    f = cycles_per_sample(k, "bin", L)
    assert f == k / L
    assert cycles_per_sample(f, "cycles", L) == f
    # One rounding in the product and one in the quotient.
    assert abs(cycles_per_sample(f * 44100.0, "hz", L, rate=44100.0) - f) <= 1e-15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((33, "bin", 64), "Nyquist bin 32 of length-64 inputs, expected 0-32"),
        ((-1, "bin", 64), "expected 0-32"),
        ((1.5, "bin", 64), "not whole"),
        ((0.51, "cycles", 64), "expected 0 to 0.5"),
        ((float("nan"), "cycles", 64), "beyond"),
        ((5.0, "hz", 64), "sampling rate"),
        ((60.0, "hz", 64, 100.0), "expected 0 to 50 Hz"),
        ((1.0, "octave", 64), "expected one of bin, cycles, hz"),
    ],
)
def test_frequencies_that_do_not_exist(arguments: tuple[float, str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cycles_per_sample(*arguments)
