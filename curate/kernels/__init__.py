"""Vectorised work over Arrow's string buffers: normalisation, shingles, MinHash, clustering.

The modules here are cheap to import; the compiled code behind them (:mod:`curate.kernels.compiled`) is loaded
by the first call that needs it. Each has a slow, readable twin in tests/reference/dedup.py.
"""
