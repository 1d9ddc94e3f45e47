# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The site of `make docs`. Nothing is fetched while it is built, and its pages load nothing from elsewhere."""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "alicloud.rds"
copyright = "alicloud.rds contributors"
html_title = html_short_title = "alicloud.rds"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_theme_options = {"documentation_home_url": "index.html", "topbar_links": {}}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"
myst_heading_anchors = 4  # as GitHub makes them
# References into Ansible's own documentation; they would need its index from the network.
suppress_warnings = ["ref.ref"]


def setup(app: Sphinx) -> None:
    # GitHub draws the diagrams; here their source is shown, and a reader of it needs no JavaScript of others.
    app.add_lexer("mermaid", TextLexer)
