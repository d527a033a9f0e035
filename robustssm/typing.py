"""Array types, and the glossary of letters used throughout.

A, B, C, D   state, input, output and feedthrough matrices
P            low-rank factor of HiPPO: A = A_N - P P^T with A_N normal
n            state dimension (order of the real system)
L            sequence length
b, d         batch and channel axes
dt           step size, units of the system's own time per sample
omega        angular frequency, rad per unit of the system's own time
theta        angular frequency, rad per sample
"""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
# complex128 in value; numpy types many complex operations no more closely than this.
ComplexArray = npt.NDArray[np.complexfloating[Any, Any]]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
# Which samples are right, or the share of a noise's draws in which each is.
Right = BoolArray | FloatArray
# Real or complex, the result of the same kind as the argument.
Array = npt.NDArray[Any]
