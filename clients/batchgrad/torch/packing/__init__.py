"""A task of this process as a code archive and initial parameters, for a service."""
