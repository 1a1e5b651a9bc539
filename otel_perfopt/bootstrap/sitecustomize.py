"""Run by every interpreter that `perfopt run` starts: sets up the instrumentation, then the sitecustomize it shadows."""

try:
    from otel_perfopt.bootstrap.startup import start
except Exception as error:  # this interpreter may be another one, without the package
    import sys

    print(f"perfopt: running without instrumentation: {error}", file=sys.stderr)  # noqa: T201 - there is no logging yet
else:
    start()
