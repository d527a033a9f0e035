"""Distances of spectra, and what the bundled checkpoints look like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.evaluations.trained_layers.initialization_of import (
    candidates,
    fingerprint,
    spectral_distance,
)
from robustssm.evaluations.trained_layers.reading import layer_spectrum
from robustssm.typing import ComplexArray

spectra = st.lists(
    st.complex_numbers(min_magnitude=0, max_magnitude=1e3, allow_nan=False), min_size=5, max_size=5
).map(lambda values: np.array(values, dtype=complex))


@given(a=spectra, b=spectra, order=st.permutations(range(5)))
def test_a_distance(a: ComplexArray, b: ComplexArray, order: list[int]) -> None:
    found = spectral_distance(a, b)
    assert 0.0 <= found <= 1.0
    assert spectral_distance(b, a) == pytest.approx(found, abs=1e-12)  # sums in another order
    assert spectral_distance(a[order], b) == pytest.approx(found, abs=1e-12)
    assert spectral_distance(a, a[order]) == 0.0


@given(a=spectra, scale=st.floats(1e-3, 1e3))
def test_the_unit_of_time_plays_no_part(a: ComplexArray, scale: float) -> None:
    other = a[::-1].conj() + 1.0
    # Five quotients rounded to 1e-16 each.
    assert spectral_distance(scale * a, scale * other) == pytest.approx(
        spectral_distance(a, other), abs=1e-12
    )


def test_spectra_of_one_order_differ() -> None:
    found = candidates(32)
    names = [name for label in found for name in label.split(", ")]
    assert len(names) == len(set(names))
    assert {"s4d", "s4d-lin", "s4d-inv", "s4d-real", "s4ptd", "s4ptd-rank1"} <= set(names)
    for label, spectrum in found.items():
        assert len(spectrum) == 32
        assert (spectrum.real < 0.0).all()
        near = min(spectral_distance(spectrum, b) for k, b in found.items() if k != label)
        assert near > 1e-3  # told apart at all: equal ones would have one label


@pytest.mark.parametrize("name", ["s4", "s4d-lin", "s4d-inv", "s4d-real", "s4ptd", "s4ptd-rank1"])
def test_trained_checkpoints_still_look_like_their_initialisation(name: str) -> None:
    for seed in (0, 1, 2):
        for layer in load_checkpoint(zoo_path(name, seed)).own.ssm_layers():
            found = fingerprint(layer_spectrum(layer))
            assert name in str(found["nearest"]).split(", ")
            assert float(found["distance"]) < float(found["second_distance"])
            assert float(found["largest_real"]) < 0.0
