"""What installed packages add to this one."""

from robustssm.plugins.table import Table

__all__ = ["Table"]
