"""The contracts of perturbations, tasks and importers, for the tests of packages that add some."""

from robustssm.testing.contracts import check_importer, check_perturbation, check_task

__all__ = ["check_importer", "check_perturbation", "check_task"]
