"""A customer-support agent and everything it talks to, on one machine and without any key."""
