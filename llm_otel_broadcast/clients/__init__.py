"""Reading LLM client libraries: which methods are watched, and how their requests and answers are read."""
