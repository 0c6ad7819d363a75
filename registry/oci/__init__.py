"""Values of the OCI specifications; no network, no clock, no disk."""
