"""What the stage ``mix`` is made of."""
