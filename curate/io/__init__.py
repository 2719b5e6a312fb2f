"""Readers, writers and the file layer below them."""
