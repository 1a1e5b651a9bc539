"""Room 3, numbers: `Execution`s and live spans in, `Measurement`s and `Series` out."""
