"""The console: a home folder in, its state as pages and a person's decisions, an OTLP receiver and the loop out."""
