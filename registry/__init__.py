"""Everything OCI: values, store, server and client. Knows nothing of bundles or sites."""
