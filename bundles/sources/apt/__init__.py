"""Debian packages: the machine's own servers, a private root to resolve in, and the repository made of the result."""
