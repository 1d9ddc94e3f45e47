# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The site of `make docs`. Nothing is fetched while it is built, and its pages load nothing from elsewhere."""

import re
from pathlib import Path

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


REPOSITORY = "https://github.com/alicloud-rds/alicloud.rds"
ROOT = Path(__file__).resolve().parents[3]  # the pages are laid into .build/docs/source
# The README is read on Galaxy, too, so its links are absolute; here they lead to the site.
ABSOLUTE = re.compile(
    r"\]\(https://(?:github\.com/[\w-]+/[\w.-]+/blob|raw\.githubusercontent\.com/[\w-]+/[\w.-]+)/main/"
)


def link_to_the_repository(app: Sphinx, name: str, content: list[str]) -> None:
    """The pages link to each other as in the repository; what they link to besides, its web site shows."""

    def target(match: re.Match[str]) -> str:
        place = ((ROOT / name).parent / match[1]).resolve()
        page = place.relative_to(ROOT)
        if str(page.with_suffix("")) in app.env.found_docs or page.suffix == ".png":
            return match[0]
        return f"]({REPOSITORY}/{'tree' if place.is_dir() else 'blob'}/main/{page}{match[2] or ''})"

    if not name.startswith("reference/"):
        if "/" not in name:
            content[0] = ABSOLUTE.sub("](", content[0])
        content[0] = re.sub(r"\]\((?!https?://|#)([^)#]+)(#[^)]*)?\)", target, content[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", link_to_the_repository)
    # GitHub draws the diagrams; here their source is shown, and a reader of it needs no JavaScript of others.
    app.add_lexer("mermaid", TextLexer)
