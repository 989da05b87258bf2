"""Middleware for web applications: each request is a context, so that every call made for it lands in one trace."""
