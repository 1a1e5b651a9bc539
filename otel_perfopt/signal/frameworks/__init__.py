"""Clients and frameworks: one integration a file, applied when its library is imported."""
