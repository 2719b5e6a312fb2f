"""What the stages ``exact``, ``minhash`` and ``semantic`` are made of: a shuffle, in steps."""
