"""What happens to a finished record: one lane for each destination."""
