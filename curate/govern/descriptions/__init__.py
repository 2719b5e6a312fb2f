"""What machines read of a release: croissant.json, the Hugging Face card, CycloneDX, SPDX; and our check of them."""
