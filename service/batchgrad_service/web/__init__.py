"""The HTML pages: templates, plain JavaScript, and their routes; no build step, no other host."""
