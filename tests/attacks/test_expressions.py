"""Perturbations as text: what is read, and that nothing is ever run."""

import math

import pytest

from robustssm.attacks import Budget, Fourier, MultiTone, Resonance, parse_perturbation
from robustssm.attacks.expressions import parse_expression, words_in
from robustssm.errors import UsageError


def test_fields_and_budget() -> None:
    assert parse_perturbation("Fourier(3, eps=0.3)") == (Fourier(3), Budget(0.3, "std"))
    assert parse_perturbation("Fourier(mode=3, phase=-0.5, eps=2, unit='rms')") == (
        Fourier(3, -0.5),
        Budget(2, "rms"),
    )
    assert parse_perturbation("Fourier(3, eps=1)", "layers")[1].unit == "rms"
    assert parse_perturbation("Resonance(325.4, eps=1)")[1].unit == "linf"
    assert parse_perturbation("Resonance(325.4, eps=1, unit='rms')")[1].unit == "rms"
    assert parse_perturbation("NoisePadding(8, eps=1, unit='l2')")[1].unit == "l2"
    clipped = parse_perturbation("Fourier(3, eps=1, clip='hard', low=0, high=1)")[1]
    assert clipped == Budget(1, "std", "hard", 0, 1)
    assert parse_perturbation("Fourier(3, eps=inf, unit='snr-db')")[1] == Budget(math.inf, "snr-db")


def test_words_stand_for_values() -> None:
    assert words_in("Fourier(mode, phase='sine')") == {"mode"}
    assert words_in("Fourier(3)") == set()
    assert parse_expression("Fourier(mode)", {"mode": 7})[0] == Fourier(7)
    assert parse_expression("Resonance(omega)", {"omega": 2.0})[0] == Resonance(2)
    assert parse_expression("MultiTone([mode, 5])", {"mode": 3})[0] == MultiTone((3, 5))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fourier(3)", "has no strength; add eps="),
        ("Furier(3, eps=1)", "'Furier' is unknown, did you mean 'Fourier'. expected one of"),
        ("Fourier(3, eps=1, colour=2)", "does not fit Fourier: .*colour"),
        ("Fourier('3', eps=1)", "mode is '3', expected a number"),
        ("Fourier(True, eps=1)", "mode is True, expected a number"),
        ("Impulses(1.5, eps=1)", "count is 1.5, expected a whole number"),
        ("MultiTone((3, 'a'), eps=1)", "modes is .*, expected a list"),
        ("Fourier(3, eps=True)", "not made of numbers"),
        ("Fourier(3, eps=1, eps=2)", "not understood"),
        ("Fourier(3, eps=1, unit='mix')", "eps in mix is not its own"),
        ("Fourier(3, eps=1, unit='octaves')", "octaves"),
        ("StepSize(eps=1, unit='l2')", "expected octaves"),
        ("Discretization('zoh', eps=0.5)", "eps is 0.5, expected 0 or 1"),
        ("Discretization('zoh', eps=1, clip='hard', low=0, high=1)", "drop clip"),
        ("BandPGD(1, 8, eps=1)", "is an adversary, which needs a model"),
        ("Fourier(eps=1)", "does not fit Fourier: .*mode"),
        ("Fourier(3, eps='much')", "not made of numbers"),
        ("Fourier(3, eps=1", "not understood"),
        ("", "not understood"),
        ("3", "not understood"),
        ("__import__('os').system('true')", "not understood"),
        ("Fourier(__import__('os'), eps=1)", "not understood"),
        ("Fourier(*[1], eps=1)", "not understood"),
        ("Fourier(**{}, eps=1)", "not understood"),
        ("Fourier(mode, eps=1)", "not understood"),
        ("Fourier(" + "(" * 500, "not understood"),
    ],
)
def test_what_is_not_a_perturbation(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_perturbation(text)
    assert "\n" not in str(caught.value)
