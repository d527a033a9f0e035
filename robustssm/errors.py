"""The errors users meet, each also a built-in one. Messages say: who, got, expected, what to do."""


class RobustssmError(Exception):
    """Base of every error that robustssm raises on purpose."""


class UsageError(RobustssmError, ValueError):
    """An argument is outside what the operation allows (command line: exit code 2)."""


class ShapeError(UsageError):
    """An array has a shape that does not fit the others."""


class StabilityError(RobustssmError, ArithmeticError):
    """A system is unstable, or so close to defective that it cannot be diagonalised."""


class RejectedInputError(RobustssmError, ValueError):
    """A checkpoint or data file is damaged, foreign or not what its card says (exit code 4)."""


class StorageError(RobustssmError):
    """Results cannot be written: no room, no permission, a read-only file system."""
