"""Adversaries: perturbations that look for the worst within a band and a budget."""

from robustssm.attacks.adversaries.band_pgd import BandPGD
from robustssm.attacks.adversaries.base import Adversary, Ball, Found, Victim, margin, worst_of
from robustssm.attacks.adversaries.guided import Guided
from robustssm.attacks.adversaries.random_search import RandomSearch
from robustssm.attacks.adversaries.universal import Universal, apply

__all__ = [
    "Adversary",
    "Ball",
    "BandPGD",
    "Found",
    "Guided",
    "RandomSearch",
    "Universal",
    "Victim",
    "apply",
    "margin",
    "worst_of",
]
