"""Judge the claims about training in docs/data/claims.csv by the rule of docs/claims.md.

    python docs/claims.py            # writes the columns p and verdict anew

Columns: claim, estimand, estimate, low and high (95 % Student interval over `seeds` training
seeds), null (the value that the claim denies), margin (of a claim that two things are alike),
quantity (the row of measured.csv that estimate and interval are taken from).
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from robustssm.evaluations.statistics.paired import holm

LEVEL = 0.05
# Claims that were tested and withdrawn with their study: the others are no surer for it.
WITHDRAWN = 6
SHOWN, ALIKE, UNDECIDED = "shown", "alike", "undecided"


def judged(claims: pd.DataFrame, withdrawn: int = 0) -> pd.DataFrame:
    """Return the claims with p, Holm-adjusted over all of them and those withdrawn, and verdict.

    p of a claim with a margin is that of two one-sided tests (TOST), of the others two-sided
    Student's, both with seeds - 1 degrees of freedom and the standard error of the interval.
    """
    freedom = claims["seeds"] - 1
    error = (claims["high"] - claims["low"]) / (2 * stats.t.ppf(0.975, freedom))
    away = (claims["estimate"] - claims["null"]).abs()
    differs = 2 * stats.t.sf(away / error, freedom)
    alike = stats.t.sf((claims["margin"] - away) / error, freedom)
    p = np.where(claims["margin"].notna(), alike, differs)
    p = holm(np.append(p, np.ones(withdrawn)))[: len(p)]
    kinds = np.where(claims["margin"].notna(), ALIKE, SHOWN)
    return claims.assign(p=p, verdict=np.where(p < LEVEL, kinds, UNDECIDED))


def measured(claims: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return the claims with estimates and intervals of numbers, the rows of measured.csv.

    To six digits, as they are stored: p is that of what the file says.
    """
    found = numbers.set_index("quantity").loc[claims["quantity"], ["value", "low", "high"]]
    columns = found.map(lambda value: float(f"{value:.6g}")).to_numpy().T
    return claims.assign(**dict(zip(("estimate", "low", "high"), columns, strict=True)))


def main(folder: Path = Path(__file__).parent / "data") -> None:
    """Write the file anew, its first line as it is."""
    path = folder / "claims.csv"
    comment = path.read_text().splitlines()[0]
    numbers = pd.read_csv(folder / "measured.csv", skiprows=1)
    table = judged(measured(pd.read_csv(path, skiprows=1), numbers), WITHDRAWN)
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    path.write_text(f"{comment}\n{text}")


if __name__ == "__main__":
    main()
