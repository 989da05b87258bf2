"""The host-parity suite: the same program, plain and instrumented, must see the same of everything it can see.

`operations` is the table of what is called: a new operation of the client is one row there. `faults` is the table of what goes
wrong, `using` how a host uses what it gets, `observing` all that it can see; `test_same` puts them together.
"""
