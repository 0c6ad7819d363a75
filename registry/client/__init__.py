"""Byte-exact reading of any OCI registry that this machine may not trust with more than it asks for."""
