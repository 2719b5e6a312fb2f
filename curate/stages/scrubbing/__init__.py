"""What the stage ``pii`` is made of, beside finders and operators."""
