"""The pages: a visit in, a response out; one module a page."""
