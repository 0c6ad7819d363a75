"""Copies of whole repositories between any content source and a store: byte-exact, resumable, proven by digest."""
