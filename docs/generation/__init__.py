"""Reference pages from the code: a module a page."""
