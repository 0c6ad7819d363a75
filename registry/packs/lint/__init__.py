"""Everything that can be said of a pack before it is built, by section of `docs/packs.md`, a module each."""
