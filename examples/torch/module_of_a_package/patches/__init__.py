"""A package with a module, as it might be installed on the nodes of a cluster."""
