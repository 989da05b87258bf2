"""Spans that the program opens itself."""
