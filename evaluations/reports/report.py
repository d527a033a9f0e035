"""The report of a run: its sections in order, whatever it is written in."""

from collections.abc import Sequence

import pandas as pd

from robustssm.evaluations.reports import report_facts as facts
from robustssm.evaluations.reports import report_rows as rows
from robustssm.evaluations.reports.parts import Code, Curves, Items, Part, Report, Table
from robustssm.evaluations.reports.verdict import verdict
from robustssm.evaluations.results.cell_reader import spike_frequencies
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.evaluations.results.tables import read_tables
from robustssm.targets import of_manifest

# Points that the table of the curves lists; the curves have all, as summary.csv does.
MOST_POINTS = 5000


def assemble(state: Inspection) -> Report:
    """Return the report of a run, finished or not; what is missing, failed or damaged is named.

    Sections without content are left out. It holds no date and no name of a machine.
    """
    tables = read_tables(state)
    plan = state.run.plan() if state.planned else pd.DataFrame()
    noisy = perturbed(tables.summary)
    curves = over_seeds(noisy) if len(noisy) else pd.DataFrame()
    chance = state.manifest.get("chance")
    known = float(chance) if isinstance(chance, int | float) else None
    points = rows.points(curves).first(MOST_POINTS).brief()
    drawn = [Curves(curves, known, spike_frequencies(plan), points)] if len(curves) else []
    missing, nothing = facts.unknown(state), "No perturbed condition has results."
    why = facts.no_pairs(plan, tables)
    command, resume = state.command, state.resume()
    again = "Every cell is there: the same command computes nothing again."
    rest = "The sweep resumes, and computes only what is missing, by this command:"
    sections: dict[str, Sequence[Part]] = {
        "Curves": drawn,
        "Figures": facts.pictures(state.run.path / "figures", of_manifest(state.manifest))
        or ["The run holds no figures; a sweep draws them when it ends."],
        "Overview": [rows.overview(tables.overview).brief() if len(noisy) else nothing],
        "Worst modes": [rows.worst_modes(curves).brief()],
        "Paired comparison": (
            [why]
            if why
            else [rows.pairs(tables.tests).brief(), rows.single_tests(tables.tests).brief()]
        ),
        "Models": [facts.cards(state, plan, tables.summary)],
        "What was run": [
            Code(command) if command else "The command is not on record.",
            facts.facts(state, plan),
            facts.noises(state, plan),
        ],
        "What is not known": [
            Items(missing) if missing else "Every planned cell is there; nothing was left out.",
            facts.failures(state),
        ],
        "How to go on": [again if state.complete else rest, Code(resume)] if resume else [],
    }
    return Report(
        facts.title(state, plan),
        facts.question(state, plan),
        [part.brief() if isinstance(part, Table) else part for part in verdict(plan, tables)],
        facts.marks(state),
        facts.counts(state),
        {
            name: parts
            for name, parts in sections.items()
            if any(getattr(part, "rows", True) for part in parts)
        },
    )
