"""Documents of a release: the manifest, and what is rendered from it alone."""
