"""The OCI distribution API over the store and over mounted content."""
