"""Tables and numbers as Markdown has them."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(" ".join(str(c).replace("|", "\\|").split()) for c in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *(line(row) for row in rows)])


def numbers(values: Iterable[float]) -> str:
    """Return numbers in words: runs of whole ones as `1-64`, many others by their ends."""
    found = sorted(set(values))
    if len(found) > 1 and all(float(v).is_integer() for v in found):
        starts = [v for v in found if v - 1 not in found]
        ends = [v for v in found if v + 1 not in found]
        parts = [
            f"{a:g}" if a == b else f"{a:.0f}-{b:.0f}" for a, b in zip(starts, ends, strict=True)
        ]
        if len(parts) <= 8:
            return ", ".join(parts)
    if len(found) > 8:
        return f"{len(found)} values from {found[0]:g} to {found[-1]:g}"
    return ", ".join(f"{v:g}" for v in found)
