"""A client library that is not like any we know: one class with both kinds of methods, generators as streams, no `_client`."""

from __future__ import annotations


class ToyError(Exception):
    def __init__(self, message, status_code):
        super().__init__(message)
        self.status_code = status_code


class Reply:
    def __init__(self, words, spent):
        self.words = words
        self.spent = spent


class Piece:
    def __init__(self, word, spent=None):
        self.word = word
        self.spent = spent


class Toy:
    """Answers from memory; `sent` is what went out, `streams_closed` how many streams have been closed before their end."""

    def __init__(self, secret="toy-secret", words=("Good", " day", "!")):
        self.secret = secret
        self.words = words
        self.sent = []
        self.streams_closed = 0
        self.during = lambda: None

    def complete(self, engine, turns, *, tags=None):
        """Complete."""
        return self._answer(engine, turns, tags)

    async def complete_async(self, engine, turns, *, tags=None):
        return self._answer(engine, turns, tags)

    def stream(self, engine, turns, *, tags=None):
        self._send(engine, turns, tags)
        try:
            for word in self.words:
                self.during()
                yield Piece(word)
            yield Piece("", (3, len(self.words)))
        except GeneratorExit:
            self.streams_closed += 1
            raise
        return "the end"

    async def stream_async(self, engine, turns, *, tags=None):
        self._send(engine, turns, tags)
        try:
            for word in self.words:
                self.during()
                yield Piece(word)
            yield Piece("", (3, len(self.words)))
        except GeneratorExit:
            self.streams_closed += 1
            raise

    def pieces(self, engine, turns):
        """Return a generator, as a plain function."""
        self._send(engine, turns, None)
        return (Piece(word) for word in self.words)

    def _answer(self, engine, turns, tags):
        self._send(engine, turns, tags)
        return Reply("".join(self.words), (3, len(self.words)))

    def _send(self, engine, turns, tags):
        if engine == "no-such-engine":
            raise ToyError(f"cannot answer {turns[0][1]}", 404)
        self.sent.append({"engine": engine, "turns": turns, "tags": tags})
        self.during()
