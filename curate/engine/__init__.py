"""Engines map a function over tasks: :mod:`curate.engine.local` runs them in processes of this machine."""
