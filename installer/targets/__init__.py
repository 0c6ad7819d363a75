"""Where a site's hosts come from."""
