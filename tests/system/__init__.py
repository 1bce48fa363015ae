"""The whole, as its users meet it: real processes, real sockets, kill -9."""
