"""The report of a run: its sections in order, whatever it is written in."""

import pandas as pd

from robustssm.evaluations.reports.parts import Code, Curves, Items, Part, Picture, Report, Section
from robustssm.evaluations.reports.report_facts import (
    cards,
    command,
    counts,
    facts,
    failures,
    marks,
    no_pairs,
    noises,
    question,
    title,
    unknown,
    words_of_figure,
)
from robustssm.evaluations.reports.report_rows import (
    overview,
    pairs,
    points,
    single_tests,
    worst_modes,
)
from robustssm.evaluations.reports.verdict import verdict
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.evaluations.results.tables import read_tables

# Points that the table of the curves lists; the curves have all, as summary.csv does.
MOST_POINTS = 5000


def assemble(state: Inspection) -> Report:
    """Return the report of a run, finished or not.

    Parameters
    ----------
    state : Inspection
        The run as it stands; cells that are missing, failed or damaged are reported as such.

    Returns
    -------
    Report
        Sections without content are left out. It holds no date and no name of a machine.
    """
    tables = read_tables(state)
    plan = state.run.plan() if state.planned else pd.DataFrame()
    noisy = perturbed(tables.summary)
    curves = over_seeds(noisy) if len(noisy) else pd.DataFrame()
    chance = state.manifest.get("chance")
    known = float(chance) if isinstance(chance, int | float) else None
    drawn: list[Part] = (
        [Curves(curves, known, points(curves).first(MOST_POINTS))] if len(curves) else []
    )
    pictures: list[Part] = [
        Picture(path, words_of_figure(path))
        for path in sorted((state.run.path / "figures").glob("*.png"))
    ]
    missing, nothing = unknown(state), "No perturbed condition has results."
    resume = state.resume()
    again = "Every cell is there: the same command computes nothing again."
    rest = "The sweep resumes, and computes only what is missing, by this command:"
    sections: dict[str, list[Part]] = {
        "Models": [cards(state, plan, tables.summary)],
        "Overview": [overview(tables.overview) if len(noisy) else nothing],
        "Worst modes": [worst_modes(curves)],
        "Curves": drawn,
        "Figures": pictures or ["The run holds no figures; a sweep draws them when it ends."],
        "Paired comparison": [
            *([why] if (why := no_pairs(plan, tables)) else []),
            *([] if why else [pairs(tables.tests), single_tests(tables.tests)]),
        ],
        "What was run": [
            Code(command(state)) if command(state) else "The command is not on record.",
            facts(state, plan),
            noises(plan),
        ],
        "What is not known": [
            Items(missing) if missing else "Every planned cell is there; nothing was left out.",
            failures(state),
        ],
        "How to go on": [again if state.complete else rest, Code(resume)] if resume else [],
    }
    return Report(
        title(state, plan),
        question(state, plan),
        verdict(plan, tables),
        marks(state),
        counts(state),
        [Section(name, parts) for name, parts in sections.items() if any(map(_holds, parts))],
    )


def _holds(part: Part) -> bool:
    """Return whether a part has something to show."""
    return bool(getattr(part, "rows", True))
