"""The table of adversaries: a new one enters by its name here."""

from robustssm.attacks.adversaries.band_pgd import BandPGD
from robustssm.attacks.adversaries.base import Adversary
from robustssm.attacks.adversaries.guided import Guided
from robustssm.attacks.adversaries.random_search import RandomSearch
from robustssm.attacks.adversaries.universal import Universal

ADVERSARIES: dict[str, type[Adversary]] = {
    cls.__name__: cls for cls in (Guided, BandPGD, RandomSearch, Universal)
}
