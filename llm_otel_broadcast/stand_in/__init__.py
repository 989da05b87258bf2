"""A local stand-in for the OpenAI and OpenRouter chat APIs, for the demo and the tests. Never used by a traced program."""
