"""Perturb-then-diagonalize side by side: condition, size, stability, error (`robustssm ptd`)."""

from collections.abc import Sequence

import pandas as pd

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.norms import sup_error
from robustssm.evaluations.readouts import read_readout
from robustssm.evaluations.responses import response
from robustssm.initializations import diagonalization, parse

# The normal part (S4D) is listed as the other end of the rank-one family.
NAMES = ("s4ptd", "s4ptd-random", "s4ptd-rank1", "s4d")


def ptd_table(sizes: Sequence[int], names: Sequence[str] = NAMES) -> pd.DataFrame:
    """Return one row a size and initialisation, readout e0.

    kappa: 2-norm condition of the unit eigenvectors; relative_norm: |E|_2 / |A|_2; sup_error:
    sup |G_E - G| with the frequency where it is attained, rad per unit time. A name that does
    not exist at a size has its reason in `note` and no numbers.
    """
    rows = []
    for n in sizes:
        for name in names:
            row: dict[str, object] = {"n": n, "init": name}
            try:
                found = diagonalization(parse(name), n)
                sup = sup_error(response(parse(name), read_readout("e0", n)))
            except (UsageError, StabilityError) as reason:
                rows.append({**row, "note": str(reason)})
                continue
            row |= {
                "kappa": found.kappa,
                "relative_norm": found.relative_norm,
                "max_real": found.max_real,
                "backward_error": found.backward_error,
                "sup_error": sup.value,
                "sup_omega": sup.at,
                "note": "",
            }
            rows.append(row)
    return pd.DataFrame(rows)
