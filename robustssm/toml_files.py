"""TOML files that a user wrote, as tables."""

import tomllib
from pathlib import Path
from typing import Any

from robustssm.errors import UsageError


def read_toml(path: Path, who: str) -> dict[str, Any]:
    """Return the table of a TOML file; raises UsageError, one line that `who` starts."""
    try:
        # Editors of Windows put a byte order mark before the text.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{who}: is no TOML: {error}") from None
    except RecursionError:
        raise UsageError(
            f"{who}: its brackets are nested too deeply, expected values and flat lists"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{who}: is no UTF-8 text; expected a TOML file") from None
    except OSError as error:
        raise UsageError(f"{who}: cannot be read ({error.strerror})") from None
