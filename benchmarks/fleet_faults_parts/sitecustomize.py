"""Run by an agent's interpreter before anything else: a clock that can be set wrong, then the usual bootstrap."""

import sys
import time

if not hasattr(time, "perfopt_skew_ns"):
    time.perfopt_skew_ns = [0]
    _true_ns = time.time_ns
    # Only what spans, leases and file names read; the workload judges answers by time.time(), which stays right.
    time.time_ns = lambda: _true_ns() + time.perfopt_skew_ns[0]
    try:
        from otel_perfopt.bootstrap.startup import start
    except Exception as error:  # the back ends' interpreters have no use for it
        print(f"no instrumentation: {error}", file=sys.stderr)
    else:
        start()
