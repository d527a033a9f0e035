"""SOURCE_DATE_EPOCH: the time that reproducible files say they were made."""

import os

from robustssm.errors import UsageError
from robustssm.plain_text import is_count


def source_date() -> int:
    """Return SOURCE_DATE_EPOCH in seconds, 0 if it is not set.

    Raises UsageError if it is no whole number from 0 on. numpy and matplotlib read it, too, the
    former when it is imported, so a command asks here first.

    Reference: reproducible-builds.org, SOURCE_DATE_EPOCH specification, version 1.1.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not is_count(text):
        raise UsageError(
            f"environment SOURCE_DATE_EPOCH: is {text!r}, expected whole seconds since 1970; set "
            "it to a number or unset it"
        )
    return int(text)
