"""Where a bundle's content comes from, one module for each kind."""
