"""Reading checkpoint files from elsewhere as plain data, without executing anything in them."""

from robustssm.checkpoints.containers.contents import Contents, Limits
from robustssm.checkpoints.containers.recognise import read_contents

__all__ = ["Contents", "Limits", "read_contents"]
