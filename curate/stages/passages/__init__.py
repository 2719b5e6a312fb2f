"""What the stage ``boilerplate`` is made of."""
