"""What is done to an input: spectral perturbations with a budget."""

from robustssm.attacks.base import Delivered, Perturbation, Site, check_eps
from robustssm.attacks.fourier import Fourier
from robustssm.attacks.resonance import Resonance

FAMILIES: dict[str, type[Perturbation]] = {"fourier": Fourier, "resonance": Resonance}

__all__ = ["FAMILIES", "Delivered", "Fourier", "Perturbation", "Resonance", "Site", "check_eps"]
