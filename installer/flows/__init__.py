"""One verb, one module: plan, apply, status."""
