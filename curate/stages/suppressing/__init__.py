"""What the stage ``suppress`` is made of."""
