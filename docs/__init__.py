"""The documentation: pages in Markdown, and what writes the reference among them from the code."""
