"""One turn of the controller: new telemetry in, verdicts, ledger entries and a fresh snapshot out."""
