"""Room 6, change it: `Decision`s in, calls that take another way (or the plain one) out."""
