"""What happened: the records of calls and spans, as plain values."""
