"""What is done to an input: spectral perturbations with a budget."""

from robustssm.attacks.base import Attack, Perturbation, Site, Transform
from robustssm.attacks.budget import Budget, check_eps
from robustssm.attacks.chirp import Chirp
from robustssm.attacks.delivered import Delivered, fingerprint
from robustssm.attacks.expressions import parse_perturbation
from robustssm.attacks.families import FAMILIES
from robustssm.attacks.filters import BandPass, BandStop, HighPass, LowPass
from robustssm.attacks.fourier import Fourier
from robustssm.attacks.gabor import Gabor
from robustssm.attacks.image import Fourier2D
from robustssm.attacks.impulses import Dropout, Impulses
from robustssm.attacks.injection import perturbed_logits
from robustssm.attacks.model_changes import Discretization, ModelChange, StepSize
from robustssm.attacks.noise import BandNoise, ColouredNoise
from robustssm.attacks.padding import NoisePadding
from robustssm.attacks.quantise import Quantise
from robustssm.attacks.resample import Resample
from robustssm.attacks.resonance import Resonance
from robustssm.attacks.scramble import PhaseScramble
from robustssm.attacks.shift import TimeShift
from robustssm.attacks.tones import Hum, MultiTone

__all__ = [
    "FAMILIES",
    "Attack",
    "BandNoise",
    "BandPass",
    "BandStop",
    "Budget",
    "Chirp",
    "ColouredNoise",
    "Delivered",
    "Discretization",
    "Dropout",
    "Fourier",
    "Fourier2D",
    "Gabor",
    "HighPass",
    "Hum",
    "Impulses",
    "LowPass",
    "ModelChange",
    "MultiTone",
    "NoisePadding",
    "Perturbation",
    "PhaseScramble",
    "Quantise",
    "Resample",
    "Resonance",
    "Site",
    "StepSize",
    "TimeShift",
    "Transform",
    "check_eps",
    "fingerprint",
    "parse_perturbation",
    "perturbed_logits",
]
