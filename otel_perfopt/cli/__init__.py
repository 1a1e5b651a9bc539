"""The `perfopt` command: arguments in, one file a subcommand."""
