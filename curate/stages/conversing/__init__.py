"""What the stage ``conversation`` is made of."""
