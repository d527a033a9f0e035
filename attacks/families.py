"""The table of perturbation families: a new one enters by its name here."""

from robustssm.attacks.base import Perturbation
from robustssm.attacks.chirp import Chirp
from robustssm.attacks.filters import BandPass, BandStop, HighPass, LowPass
from robustssm.attacks.fourier import Fourier
from robustssm.attacks.gabor import Gabor
from robustssm.attacks.image import Fourier2D
from robustssm.attacks.impulses import Dropout, Impulses
from robustssm.attacks.model_changes import Discretization, StepSize
from robustssm.attacks.noise import BandNoise, ColouredNoise
from robustssm.attacks.padding import NoisePadding
from robustssm.attacks.quantise import Quantise
from robustssm.attacks.resample import Resample
from robustssm.attacks.resonance import Resonance
from robustssm.attacks.scramble import PhaseScramble
from robustssm.attacks.shift import TimeShift
from robustssm.attacks.tones import Hum, MultiTone

FAMILIES: dict[str, type[Perturbation]] = {
    cls.__name__: cls
    for cls in (
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
    )
}
