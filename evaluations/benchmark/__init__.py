"""A frozen suite of noises, the card of a model under it, and what holds a card to its model."""
