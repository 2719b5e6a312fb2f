"""What the stage ``injection`` is made of."""
