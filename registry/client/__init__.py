"""Byte-exact transfer from and to any OCI registry."""
