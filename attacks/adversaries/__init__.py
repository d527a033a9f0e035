"""Adversaries: perturbations that look for the worst within a band and a budget."""

from robustssm.attacks.adversaries.auto_attack import SpectralAutoAttack
from robustssm.attacks.adversaries.band_pgd import BandPGD
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.adversaries.guided import Guided
from robustssm.attacks.adversaries.random_search import RandomSearch
from robustssm.attacks.adversaries.universal import Universal, apply
from robustssm.attacks.adversaries.victim import Victim
from robustssm.targets import margin

__all__ = [
    "Adversary",
    "BandPGD",
    "Found",
    "Guided",
    "RandomSearch",
    "SpectralAutoAttack",
    "Target",
    "Universal",
    "Victim",
    "apply",
    "margin",
]
