"""One folder on disk that keeps blobs, manifests and tags through any crash."""
