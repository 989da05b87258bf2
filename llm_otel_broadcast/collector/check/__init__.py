"""Checks of a Collector configuration that the Collector itself cannot make."""
