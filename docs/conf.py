"""Settings of the site: `make docs` builds it into docs/build/html."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for docstrings.py and mathml.py

project = "equicomir"
author = "The equicomir authors"
project_copyright = author
version = release = installed("equicomir")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",  # myst_parser, and notebooks
    "docstrings",
    "mathml",
]
exclude_patterns = ["build"]
templates_path = ["_templates"]

# Every docstring of the package is in Google's style, with one section of its own.
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
napoleon_use_rtype = False
autosummary_generate = True
autosummary_generate_overwrite = True
# What a module only passes on (escnn's names, in e2cnn) is documented where it comes from.
autodoc_default_options = {"members": True, "ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# A test runs the notebook; the site shows what is stored in it.
nb_execution_mode = "off"
smartquotes_action = "qe"  # quotes and ellipses; `--option` in a sentence stays what one types
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "equicomir"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
