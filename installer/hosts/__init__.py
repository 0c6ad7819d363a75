"""Reaching hosts: SSH with pinned keys, facts, Ansible runs."""
