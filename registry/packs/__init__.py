"""Add-on packs in Palette's format: read as they are in the wild, written strictly."""
