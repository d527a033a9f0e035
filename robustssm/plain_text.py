"""Text that is data: how outputs hold it so that it stays text, and which numbers it spells.

Names of models, noises and tasks, errors and paths come from others. On a terminal they must not
move the cursor, in Markdown make no heading, link or HTML, in a figure no formula.
"""

import re

# Control characters, separators of lines, signs that reverse the direction, halves of a character.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What starts something in Markdown; an underscore inside a word does not.
_MARKUP = re.compile(r"[\\`*<$~|]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|(?<=\])(?=[(\[:])|!(?=\[)")
_COUNT = re.compile("[0-9]{1,30}")
_LARGEST = (1 << 63) - 1
_NUMBER = re.compile(
    r"[-+]?(?:(?:[0-9]{1,400}(?:[.][0-9]{0,400})?|[.][0-9]{1,400})(?:e[-+]?[0-9]{1,5})?|inf|nan)",
    re.IGNORECASE,
)
_ENTITIES = {"<": "&lt;", "&": "&amp;"}


def one_line(text: str) -> bool:
    """Return whether a text has no line break and no control character."""
    return _CONTROL.search(text) is None


def first_line(text: str | None) -> str:
    """Return the first line of a docstring, without its full stop."""
    return (text or "").partition("\n")[0].rstrip(".")


def visible(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters spelt out, as in \x1b, except those of `keep`."""

    def spelt(found: re.Match[str]) -> str:
        sign = found.group()
        return sign if sign in keep else sign.encode("unicode_escape").decode()

    return _CONTROL.sub(spelt, text)


def markdown(text: str) -> str:
    """Return a text for a line of Markdown, which shows it as it is."""
    text = " ".join(visible(text, keep="\n\t").split())
    text = _MARKUP.sub(lambda m: _ENTITIES.get(m.group(), "\\" + m.group()), text)
    # At the start of a line: lists, headings, quotes, rules; no number.
    text = re.sub(r"^(?=[-+#=]+(?:\s|$)|>)", r"\\", text)
    return re.sub(r"^(\d+)(?=[.)](?:\s|$))", r"\1\\", text)


def figure_label(text: str) -> str:
    r"""Return a text for a label of a figure: no formula between $ and $, and never left out.

    matplotlib takes \$ for a dollar, and leaves a line out of a legend whose name starts with _.
    """
    text = visible(text, keep="\n").replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def is_count(text: str) -> bool:
    """Return whether a text is a whole number of 0 or more, in ASCII digits, below 2^63."""
    return _COUNT.fullmatch(text) is not None and int(text) <= _LARGEST


def whole(text: str) -> int:
    """Return the whole number that a text is, below 2^63 in size; ValueError if it is none.

    Digits are ASCII, in tens, with nothing between them: no 1_0, no 0x10, no digits of other
    scripts, which `int` takes.
    """
    text = text.strip(" ")
    if not is_count(text.removeprefix("-") if text[:1] == "-" else text.removeprefix("+")):
        raise ValueError(f"{text[:40]!r} is no whole number below 2^63 in ASCII digits")
    return int(text)


def number(text: str) -> float:
    """Return the number that a text is, be it inf or nan; ValueError if it is none; as `whole`."""
    text = text.strip(" ")
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is no number in ASCII digits")
    return float(text)
