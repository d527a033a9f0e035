"""Text that is data, as each output has to hold it so that it stays text.

Names of models, noises and tasks, errors and paths come from others. On a terminal they must not
move the cursor, in Markdown make no heading, link or HTML, in a figure no formula.
"""

import re

# Control characters, separators of lines, signs that reverse the direction, halves of a character.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What starts something in Markdown; an underscore inside a word does not.
_MARKUP = re.compile(r"[\\`*<$~|]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|(?<=\])(?=[(\[:])|!(?=\[)")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}


def one_line(text: str) -> bool:
    """Return whether a text has no line break and no control character."""
    return _CONTROL.search(text) is None


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
