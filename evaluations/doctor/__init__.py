"""A self-test to run before a number is believed: each check compares two routes to one thing."""

from robustssm.evaluations.doctor.base import Check, Finding, Setting, Subject, read_subject
from robustssm.evaluations.doctor.table import CHECKS, examine

__all__ = ["CHECKS", "Check", "Finding", "Setting", "Subject", "examine", "read_subject"]
