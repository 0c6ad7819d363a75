"""Add-on packs in Palette's format."""
