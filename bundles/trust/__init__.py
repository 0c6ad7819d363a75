"""Whom a site believes: keys, signatures, verification and memory."""
