"""Lay out the site like the repository, so that one link holds in both.

``mkdocs`` reads only ``docs/``, while the documents also link to README.md, to results and to
source files. This hook gives the site the layout of the repository and adds every linked file. A
site has no folders to look into, so a link to one becomes plain text.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
FOLDER = re.compile(r"\[([^]]+)\]\((?!https?:)([^)#\s]+)\)")
STYLE = "docs/site.css"
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the site, each under its path in the repository."""
    pages = [*PAGES, *(f"docs/{path}" for path in files.src_uris if path.endswith(".md"))]
    linked = {target for page in pages for target in linked_files(page)}
    theme = [file for file in files if file.src_dir != config.docs_dir]
    ours = [
        File(path, str(ROOT), config.site_dir, config.use_directory_urls)
        for path in [STYLE, *pages, *sorted(linked - set(pages))]
    ]
    return Files(theme + ours)


def linked_files(page: str) -> list[str]:
    """Return the files of the repository that a page links to, as paths from the root."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [(ROOT / page).parent.joinpath(target).resolve() for target in LINK.findall(text)]
    return [path.relative_to(ROOT).as_posix() for path in found if path.is_file()]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page without its links to folders."""
    here = (ROOT / page.file.src_uri).parent
    return FOLDER.sub(
        lambda link: link[1] if (here / link[2]).is_dir() else link[0],
        markdown,
    )
