"""Profiles: an ordered set of packs with values, presets and variables, checked and rendered before anything ships."""
