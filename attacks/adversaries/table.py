"""The table of adversaries: a new one enters by its name here, or from a package."""

from robustssm.attacks.adversaries.auto_attack import SpectralAutoAttack
from robustssm.attacks.adversaries.band_pgd import BandPGD
from robustssm.attacks.adversaries.base import Adversary
from robustssm.attacks.adversaries.guided import Guided
from robustssm.attacks.adversaries.random_search import RandomSearch
from robustssm.attacks.adversaries.universal import Universal
from robustssm.attacks.base import misfit
from robustssm.plugins import Table

ADVERSARIES: Table[type[Adversary]] = Table(
    "robustssm.adversaries",
    {cls.__name__: cls for cls in (Guided, BandPGD, RandomSearch, Universal, SpectralAutoAttack)},
    lambda name, value: misfit(name, value, Adversary),
)
