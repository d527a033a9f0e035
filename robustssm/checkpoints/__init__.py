"""Reading and writing trained networks."""

from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.native import (
    Checkpoint,
    load_checkpoint,
    read_card,
    save_checkpoint,
)

__all__ = ["Card", "Checkpoint", "load_checkpoint", "read_card", "save_checkpoint"]
