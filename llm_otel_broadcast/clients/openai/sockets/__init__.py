"""Calls over web sockets: the responses API and the realtime API."""
