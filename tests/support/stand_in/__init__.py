"""The shipped stand-in answers chat completions, which the demo needs; here is the rest of the API."""
