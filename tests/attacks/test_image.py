"""The two-dimensional modes: the published basis, its signs, both conventions."""

import math

import numpy as np
import pytest
import torch

from robustssm.attacks import Budget, Fourier2D, Site
from robustssm.attacks.bands import span, span_energy
from robustssm.errors import UsageError

SHAPES = [(8, 8), (7, 9), (6, 5)]


def bins(rows: int, columns: int) -> list[tuple[int, int]]:
    """Return every mode once, as signed bins."""
    return [
        (i, j)
        for i in range(-(rows // 2), (rows + 1) // 2)
        for j in range(-(columns // 2), (columns + 1) // 2)
    ]


def basis(i: int, j: int, shape: tuple[int, int], samples: int = 1) -> np.ndarray:
    """Return the direction in the convention of the heat map, (samples, L)."""
    L = shape[0] * shape[1]
    x = torch.zeros(samples, L, 1, dtype=torch.float64)
    site = Site(length=L, image=shape)
    return Fourier2D(i, j).direction(x, np.arange(samples), 0, site).numpy()[:, :, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_basis_is_the_released_one_up_to_sign(shape: tuple[int, int]) -> None:
    """A spectrum of (1 + i) / 2 at the bin, its conjugate at the mirror, 1 where they coincide."""
    rows, columns = shape
    for i, j in bins(*shape):
        F = np.zeros(shape, dtype=complex)
        F[i % rows, j % columns] = 0.5 + 0.5j
        F[-i % rows, -j % columns] = 0.5 - 0.5j
        if 2 * i % rows == 0 and 2 * j % columns == 0:
            F[i % rows, j % columns] = 1.0
        U = (math.sqrt(rows * columns) * np.fft.ifft2(F).real).ravel()
        found = basis(i, j, shape)[0]
        # Rounding of values around 1.
        np.testing.assert_allclose(found, np.sign(found @ U) * U, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_modes_are_orthonormal(shape: tuple[int, int]) -> None:
    U = np.concatenate([basis(i, j, shape) for i, j in bins(*shape)])
    np.testing.assert_allclose(U @ U.T, np.eye(shape[0] * shape[1]), atol=1e-13)


def test_signs_are_drawn_per_sample_and_channel() -> None:
    x = torch.zeros(4000, 64, 2, dtype=torch.float64)
    delta = Fourier2D(2, 1).direction(x, np.arange(4000), 0, Site(length=64, image=(8, 8)))
    sign = torch.sign(delta[:, 0]).numpy()
    assert set(np.abs(delta[:, 0].numpy()).ravel()) == {np.abs(delta[0, 0, 0].item())}
    # Means of 4000 signs: standard error 0.016.
    for mean in (*sign.mean(0), sign.prod(1).mean()):
        assert abs(mean) < 0.08


def test_the_norm_per_channel_is_that_of_the_paper() -> None:
    """v = 4 per channel is 4 sqrt(3) in l2 over three channels."""
    x = torch.full((3, 64, 3), 0.5, dtype=torch.float64)
    budget, site = Budget(4.0 * math.sqrt(3.0), "l2"), Site(image=(8, 8))
    after = Fourier2D(2, 1).perturb(x, None, np.arange(3), 0, budget=budget, site=site)
    norms = torch.linalg.vector_norm(after - x, dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, 4.0), rtol=1e-12, atol=0.0)


def test_equal_peaks_are_equal_in_every_mode_and_channel() -> None:
    x = torch.zeros(5, 63, 3, dtype=torch.float64)
    for i, j in bins(7, 9):
        p = Fourier2D(i, j, "equal")
        budget, site = Budget(0.1, "linf"), Site(image=(7, 9))
        after = p.perturb(x, None, np.arange(5), 0, budget=budget, site=site)
        peak = after.abs().amax(1)
        torch.testing.assert_close(peak, torch.full_like(peak, 0.1), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(("i", "j"), [(2, -3), (-4, 0), (-4, 4), (0, 0), (3, 4)])
def test_energy_in_the_two_bins_is_that_of_the_projection(i: int, j: int) -> None:
    delta = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 64, 2)))
    row, column = np.divmod(np.arange(64), 8)
    angle = 2.0 * np.pi * (i * row + j * column) / 8.0
    columns = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    found = Fourier2D(i, j).in_band(delta, Site(length=64, image=(8, 8)))
    torch.testing.assert_close(found, span_energy(delta, span(columns)), rtol=1e-12, atol=0.0)


def test_a_mode_along_the_rows_is_the_same_in_all_of_them() -> None:
    U = basis(0, 3, (7, 9)).reshape(7, 9)
    np.testing.assert_allclose(U, np.broadcast_to(U[:1], (7, 9)), atol=1e-15)


SITE = Site(image=(8, 8))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Fourier2D(1.5, 0), "i is 1.5, expected a whole number"),  # type: ignore[arg-type]
        (lambda: Fourier2D(0, "a"), "j is 'a'"),  # type: ignore[arg-type]
        (lambda: Fourier2D(0, float("inf")), "j is inf"),  # type: ignore[arg-type]
        (lambda: Fourier2D(0, 0, "peak"), "convention 'peak' is unknown"),
        (lambda: Fourier2D(0, 0).check_length(64, Site()), "the sequence is no image"),
        (lambda: Fourier2D(0, 0).check_length(63, SITE), "64 pixels, but the sequence has 63"),
        (lambda: Fourier2D(5, 0).check_length(64, SITE), "i is 5, expected -4 to 4"),
        (lambda: Fourier2D(0, -5).check_length(64, SITE), "expected -4 to 4"),
        (
            lambda: Fourier2D(1, 1).perturb(
                torch.ones(2, 64, 1),
                torch.tensor([64, 40]),
                np.arange(2),
                0,
                budget=Budget(1.0, "l2"),
                site=SITE,
            ),
            "40 valid steps of 64 are no image",
        ),
        (
            lambda: Fourier2D(1, 1).perturb(
                torch.ones(2, 64, 1),
                None,
                np.arange(2),
                0,
                budget=Budget(1.0, "l2"),
                site=Site(layer=0),
            ),
            "acts at input, not at 'layers'",
        ),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
