"""What happens now: telemetry files as they grow in, a screen of rates, times and errors out."""
