"""A report as one HTML page: no network, no other file; equal runs, equal bytes."""

import base64
import io
import os
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from robustssm._version import __version__
from robustssm.errors import UsageError
from robustssm.evaluations.reports.html_curves import Looks, curve_figures
from robustssm.evaluations.reports.markdown import links
from robustssm.evaluations.reports.report import assemble
from robustssm.evaluations.results.inspection import Inspection
from robustssm.source_date import source_date
from robustssm.storage.opening import read_bytes
from robustssm.storage.writing import new_file

# Bytes of a figure that is put on the page.
_PICTURE = 64 << 20


def write_page(state: Inspection, output: Path, looks: Looks) -> int:
    """Write a run's report as HTML; return its bytes. Raises what `page` and `new_file` raise."""
    content = page(state, looks, output.parent).encode(errors="backslashreplace")
    with new_file(output) as unfinished:
        unfinished.write_bytes(content)
    return len(content)


def page(state: Inspection, looks: Looks, folder: Path) -> str:
    """Return the report of a run as one HTML page; looks: of the models, those of the figures.

    folder: where the page will lie, for its links to the run's figures. Every text of the run
    (names of models, errors, commands) is escaped; a policy in the page forbids all network access.
    The date is that of SOURCE_DATE_EPOCH (UTC), today's if it is not set; the same run and date
    give the same bytes. Raises UsageError if the libraries of the extra `html` are missing.
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
    # A template of our own: its style and scripts hold nothing of the run.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["picture"] = _picture
    environment.filters["links"] = partial(links, base=folder.resolve())
    return environment.from_string(_part("html")).render(
        report=assemble(state),
        version=__version__,
        date=_date(),
        figures=partial(curve_figures, looks=looks),
        css=Markup(_part("css").strip()),
        js=Markup(_part("js").strip()),
        # No package has plotly's basic bundle; the whole one is a third in size when deflated, and
        # the page inflates it.
        plotly=_base64(zlib.compress(get_plotlyjs().encode(), 9)),
    )


def _picture(path: Path) -> str:
    """Return a PNG as type and base64: as WebP, the same pixels in half the size, if it is one."""
    from PIL import Image

    data, kind = read_bytes(path, _PICTURE), "png"
    with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.convert("RGB").save(stream := io.BytesIO(), "WEBP", lossless=True)
        data, kind = stream.getvalue(), "webp"
    return f"{kind};base64,{_base64(data)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _part(suffix: str) -> str:
    return Path(__file__).with_suffix(f".{suffix}").read_text(encoding="utf-8")


def _date() -> str:
    """Return the date of SOURCE_DATE_EPOCH, today's if it is not set: `2026-01-31`, UTC."""
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
