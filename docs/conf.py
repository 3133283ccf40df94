"""The site: `sphinx-build -W --keep-going docs build/site`; with KINEMA_EXECUTE=1 the notebooks show their outputs."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

EXECUTE = os.environ.get("KINEMA_EXECUTE") == "1"
if EXECUTE:
    os.environ["KINEMA_SMOKE"] = "1"  # read by the notebooks, whose kernels inherit it

project = "Kinema"
author = "the authors of Kinema"
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "docstrings",
    "mathml",
    "notebooks",
]
html_math_renderer = "mathml"
exclude_patterns = ["_*"]
templates_path = []
suppress_warnings = [
    "config.cache",  # a function in the settings
    "mystnb.unknown_mime_type",  # widgets, which have a text beside them
]

highlight_language = "none"  # equations in literal blocks are no Python
default_role = "py:obj"  # `KalmanVAE` in a docstring is a link where there is something to link to
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_preprocess_types = False
add_module_names = False
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force" if EXECUTE else "off"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_excludepatterns = []
nb_merge_streams = True

html_theme = "pydata_sphinx_theme"
html_title = "Kinema"
html_static_path = ["_static"]
html_css_files = ["kinema.css"]
html_show_sphinx = False
html_show_search_summary = False  # fetched by a script, which browsers refuse to pages opened from a folder
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {name: [] for name in ("index", "write_a_model", "glossary", "architecture", "results")}
html_context = {"default_mode": "auto"}  # without it the theme complains in the console
html_theme_options = {
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": [],
    "footer_end": [],
}
