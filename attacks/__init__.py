"""What is done to an input: spectral perturbations with a budget."""

from robustssm.attacks.adversaries import (
    BandPGD,
    Guided,
    RandomSearch,
    SpectralAutoAttack,
    Universal,
)
from robustssm.attacks.base import Attack, Perturbation, Site, Transform
from robustssm.attacks.budget import Budget, check_eps
from robustssm.attacks.delivered import Delivered, fingerprint
from robustssm.attacks.expressions import parse_perturbation
from robustssm.attacks.injection import perturbed_logits
from robustssm.attacks.perturbations.chirp import Chirp
from robustssm.attacks.perturbations.filters import BandPass, BandStop, HighPass, LowPass
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.attacks.perturbations.gabor import Gabor
from robustssm.attacks.perturbations.image import Fourier2D
from robustssm.attacks.perturbations.impulses import Dropout, Impulses
from robustssm.attacks.perturbations.model_changes import Discretization, ModelChange, StepSize
from robustssm.attacks.perturbations.noise import BandNoise, ColouredNoise
from robustssm.attacks.perturbations.padding import NoisePadding
from robustssm.attacks.perturbations.quantise import Quantise
from robustssm.attacks.perturbations.resample import Resample
from robustssm.attacks.perturbations.resonance import Resonance
from robustssm.attacks.perturbations.scramble import PhaseScramble
from robustssm.attacks.perturbations.shift import TimeShift
from robustssm.attacks.perturbations.table import FAMILIES
from robustssm.attacks.perturbations.tones import Hum, MultiTone
from robustssm.attacks.perturbations.weights import BitFlip, Precision, WeightNoise, WeightQuantise
from robustssm.attacks.windows import Window

__all__ = [
    "FAMILIES",
    "Attack",
    "BandNoise",
    "BandPGD",
    "BandPass",
    "BandStop",
    "BitFlip",
    "Budget",
    "Chirp",
    "ColouredNoise",
    "Delivered",
    "Discretization",
    "Dropout",
    "Fourier",
    "Fourier2D",
    "Gabor",
    "Guided",
    "HighPass",
    "Hum",
    "Impulses",
    "LowPass",
    "ModelChange",
    "MultiTone",
    "NoisePadding",
    "Perturbation",
    "PhaseScramble",
    "Precision",
    "Quantise",
    "RandomSearch",
    "Resample",
    "Resonance",
    "Site",
    "SpectralAutoAttack",
    "StepSize",
    "TimeShift",
    "Transform",
    "Universal",
    "WeightNoise",
    "WeightQuantise",
    "Window",
    "check_eps",
    "fingerprint",
    "parse_perturbation",
    "perturbed_logits",
]
