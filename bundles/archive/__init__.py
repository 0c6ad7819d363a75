"""The bundle's file: written once, read in place, never changed."""
