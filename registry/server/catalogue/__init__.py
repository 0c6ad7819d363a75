"""What people and the administration API see: repositories, images, packs, bundles, and the server's inside.

Every function takes a `Viewer` and shows what that caller may pull, nothing more; what exists beyond that and what does
not exist look the same. Each returns one model: the API answers it as JSON, the pages render it.
"""
