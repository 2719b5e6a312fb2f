"""What the stage ``profile`` is made of."""
