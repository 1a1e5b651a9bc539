"""How a program is started with the instrumentation on: a command's environment in, an instrumented interpreter out."""
