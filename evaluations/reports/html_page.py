"""A run as one HTML page that stands alone: no network, no other file; equal runs, equal bytes."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from robustssm._version import __version__
from robustssm.errors import UsageError
from robustssm.evaluations.reports.html_curves import curve_data
from robustssm.evaluations.reports.html_figures import figures
from robustssm.evaluations.reports.report_facts import (
    cards,
    command,
    counts,
    facts,
    failures,
    going_on,
    marks,
    no_pairs,
    noises,
    question,
    title,
    unknown,
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
from robustssm.files import new_file
from robustssm.source_date import source_date

# Points that the page's table lists; the curves have all, as summary.csv does.
_MOST_POINTS = 5000


def write_page(state: Inspection, output: Path) -> int:
    """Write the report as HTML; return its size in bytes.

    Raises UsageError where the libraries of the extra `html` are missing, StorageError where
    nothing can be written.
    """
    content = page(state).encode()
    with new_file(output) as partial:
        partial.write_bytes(content)
    return len(content)


def page(state: Inspection) -> str:
    """Return the report of a run as one HTML page.

    Every text of the run (names of models, errors, commands) is escaped; a policy in the page
    forbids all network access. The date is that of SOURCE_DATE_EPOCH (UTC), today's where it is
    not set; the same run and date give the same bytes. Raises UsageError where the libraries of
    the extra `html` are missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UsageError(
            f"report --html: {error.name or 'plotly'} is not installed; run pip install "
            "'robustssm[html]', or leave --html out for the Markdown report"
        ) from None
    tables = read_tables(state)
    noisy = perturbed(tables.summary)
    curves = over_seeds(noisy) if len(noisy) else pd.DataFrame()
    chance = state.manifest.get("chance")
    data = curve_data(curves, float(chance) if isinstance(chance, int | float) else None)
    plan = state.run.plan() if state.planned else pd.DataFrame()
    # A template of our own: its style and scripts hold nothing of the run.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_part("html")).render(
        version=__version__,
        date=_date(),
        title=title(state, plan),
        question=question(state, plan),
        verdict=verdict(plan, tables),
        marks=marks(state),
        counts=counts(state),
        cards=cards(state, plan, tables.summary),
        overview=overview(tables.overview),
        worst=worst_modes(curves),
        points=points(curves, _MOST_POINTS),
        looks=data["models"],
        curves=data,
        figures=figures(state),
        no_pairs=no_pairs(plan, tables),
        pairs=pairs(tables.tests),
        tests=single_tests(tables.tests),
        command=command(state),
        facts=facts(state, plan),
        noises=noises(plan),
        unknown=unknown(state),
        failures=failures(state),
        resume=state.resume(),
        going_on=going_on(state),
        css=Markup(_part("css").strip()),
        script=Markup(_part("js").strip()),
        # The end of a script must not stand inside one.
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
    )


def _part(suffix: str) -> str:
    return Path(__file__).with_suffix(f".{suffix}").read_text(encoding="utf-8")


def _date() -> str:
    """Return the date of SOURCE_DATE_EPOCH, today's where it is not set: `2026-01-31`, UTC."""
    seconds = source_date()
    chosen = "SOURCE_DATE_EPOCH" in os.environ
    try:
        time = datetime.fromtimestamp(seconds, UTC) if chosen else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"environment SOURCE_DATE_EPOCH: {seconds} s is after the year 9999; set a time that "
            "has a date"
        ) from None
    return time.strftime("%Y-%m-%d")
