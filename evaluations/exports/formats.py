"""A run in the formats of others: Parquet, CSV, JSON, Markdown.

Equal runs give equal bytes. Files are written beside their names first.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustssm.evaluations.exports.samples import write_samples
from robustssm.evaluations.reports.markdown import render
from robustssm.evaluations.reports.report import assemble
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.tables import finished, read_tables, tidy
from robustssm.storage.writing import finite, new_file

# Raised when a key of the JSON document changes its meaning.
SCHEMA = 1


def write_summary(state: Inspection, output: Path) -> int:
    """Write one row per finished cell and model as CSV, tidy; return the number of rows.

    The columns of summary.csv, then checkpoint hash, perturbation, clip, noise seed and limit.
    """
    finished(state)
    frame = tidy(state.run, read_tables(state).summary)
    with new_file(output) as partial:
        partial.write_bytes(frame.to_csv(index=False, lineterminator="\n").encode())
    return len(frame)


def document(state: Inspection) -> dict[str, Any]:
    """Return the whole of a run's tables as one JSON document: strict, no NaN, schema version 1.

    Keys: schema, run (the manifest), complete, partial, cells (counts), missing, failed, damaged,
    summary, tests, overview.
    """
    tables = read_tables(state)
    content = {
        "schema": SCHEMA,
        "run": state.manifest,
        "complete": state.complete,
        "partial": state.partial,
        "cells": state.counts,
        "missing": list(state.missing),
        "failed": [{"cell": f.cell, "error": f.error} for _, f in sorted(state.failed.items())],
        "damaged": [{"file": n, "reason": why} for n, why in sorted(state.damaged.items())],
        "summary": tidy(state.run, tables.summary).to_dict("records"),
        "tests": tables.tests.to_dict("records"),
        "overview": tables.overview.to_dict("records"),
    }
    return finite(content)


def write_document(state: Inspection, output: Path) -> int:
    """Write `document` as JSON; return the number of rows of its summary."""
    finished(state)
    content = document(state)
    with new_file(output) as partial:
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
    return len(content["summary"])


def write_report(state: Inspection, output: Path) -> int:
    """Write the report as Markdown; return its number of lines."""
    text = render(assemble(state), output)
    with new_file(output) as partial:
        partial.write_text(text, encoding="utf-8")
    return text.count("\n")


# format -> (writer, what it counts)
WRITERS: dict[str, tuple[Callable[[Inspection, Path], int], str]] = {
    "parquet": (write_samples, "rows"),
    "csv": (write_summary, "rows"),
    "json": (write_document, "rows"),
    "md": (write_report, "lines"),
}
