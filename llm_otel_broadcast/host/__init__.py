"""Keeping out of the host program's way: errors, forks, signals, green threads, logs."""
