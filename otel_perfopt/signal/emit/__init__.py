"""The agent side: calls of a running program in, spans out; nothing raises into the host."""
