"""Sphinx's configuration of the guide: `make docs` builds it into the service's package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from batchgrad.version import __version__

project = "batchgrad"
author = "the batchgrad authors"
version = release = __version__
extensions = ["myst_parser", "docs.generate.extension"]
exclude_patterns = ["generate"]
nitpicky = True
smartquotes = False
myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"batchgrad {__version__}"
html_favicon = "../service/batchgrad_service/web/static/favicon.svg"
html_copy_source = html_show_sphinx = html_show_copyright = html_use_index = False
html_permalinks_icon = "#"
