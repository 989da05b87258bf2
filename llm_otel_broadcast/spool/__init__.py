"""What could not be delivered, on disk: encoded requests, until a process with the same destination sends them."""
