"""What an importer makes of a checkpoint from elsewhere."""

from dataclasses import dataclass

from robustssm.networks.classifier import Classifier


@dataclass(frozen=True)
class Imported:
    """A network, what a user should know of how it was read, and what kind of SSM it is.

    notes: sentences for people; family: s4, s4d, dss, s5 or mamba, as far as the file tells.
    """

    network: Classifier
    notes: tuple[str, ...]
    family: str
