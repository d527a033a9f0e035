"""Reading checkpoint files from elsewhere as plain data, without executing anything in them."""

from robustssm.file_formats.contents import Contents, Limits
from robustssm.file_formats.paths import read_contents

__all__ = ["Contents", "Limits", "read_contents"]
