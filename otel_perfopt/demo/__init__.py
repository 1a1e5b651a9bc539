"""The whole loop shown on the example agent: nothing in, a measured tour out."""
