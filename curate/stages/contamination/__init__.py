"""What the stage ``decontaminate`` is made of."""
