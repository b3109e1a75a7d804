"""The resources of users' data: datasets, uploads, and operations that read them."""
