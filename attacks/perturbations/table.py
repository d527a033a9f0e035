"""The table of perturbation families: a new one enters by its name here, or from a package."""

from robustssm.attacks.base import Perturbation, misfit
from robustssm.attacks.perturbations.chirp import Chirp
from robustssm.attacks.perturbations.filters import BandPass, BandStop, HighPass, LowPass
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.attacks.perturbations.gabor import Gabor
from robustssm.attacks.perturbations.image import Fourier2D
from robustssm.attacks.perturbations.impulses import Dropout, Impulses
from robustssm.attacks.perturbations.model_changes import Discretization, StepSize
from robustssm.attacks.perturbations.noise import BandNoise, ColouredNoise
from robustssm.attacks.perturbations.padding import NoisePadding
from robustssm.attacks.perturbations.quantise import Quantise
from robustssm.attacks.perturbations.resample import Resample
from robustssm.attacks.perturbations.resonance import Resonance
from robustssm.attacks.perturbations.scramble import PhaseScramble
from robustssm.attacks.perturbations.shift import TimeShift
from robustssm.attacks.perturbations.tones import Hum, MultiTone
from robustssm.attacks.perturbations.weights import BitFlip, Precision, WeightNoise, WeightQuantise
from robustssm.plugins import Table

_BUILT_IN = (
    Fourier,
    Fourier2D,
    MultiTone,
    Hum,
    Chirp,
    Gabor,
    BandNoise,
    ColouredNoise,
    Impulses,
    Dropout,
    Resonance,
    LowPass,
    HighPass,
    BandPass,
    BandStop,
    PhaseScramble,
    Resample,
    TimeShift,
    Quantise,
    NoisePadding,
    StepSize,
    Discretization,
    WeightNoise,
    WeightQuantise,
    BitFlip,
    Precision,
)
FAMILIES: Table[type[Perturbation]] = Table(
    "robustssm.perturbations",
    {cls.__name__: cls for cls in _BUILT_IN},
    lambda name, value: misfit(name, value, Perturbation),
)
