"""The bundle: definition, lock, sources, archive and trust. Knows nothing of sites."""
