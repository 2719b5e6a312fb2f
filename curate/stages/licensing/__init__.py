"""What the stage ``license`` is made of."""
