"""Room 7, did it help: units of treatment and baseline in, a `Verdict` out."""
