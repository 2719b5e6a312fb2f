"""What the stages ``quality`` and ``score`` are made of."""
