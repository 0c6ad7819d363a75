"""One isolated installation: its declaration, its home folder, its memory and its secrets."""
