"""Networks: what maps inputs to logits, in training, in blocks, imported or foreign."""
