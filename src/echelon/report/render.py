"""HTML that is one file: styles and drawings are inside, and it asks the network for nothing.

Raises on import:
    EchelonError: matplotlib or jinja2 is not installed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echelon import __version__
from echelon.data.storage import open_storage
from echelon.errors import EchelonError
from echelon.report import format
from echelon.report.palette import DARK, LIGHT, css

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise EchelonError("the report page needs jinja2: pip install 'echelon[report]'") from error

from echelon.report.plots import inline_svg


def render(template: str, **values: Any) -> str:
    """A template of this package with the theme and the formats. Every value is escaped unless it is markup."""
    environment = Environment(
        loader=PackageLoader("echelon.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "format": format,
        "light": Markup(css(LIGHT)),
        "dark": Markup(css(DARK)),
        "version": __version__,
        "now": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return environment.get_template(template).render(values)


def drawing(figure: Any, title: str, *, salt: str) -> Markup:
    """A figure as markup of the page; matplotlib escapes its texts."""
    return Markup(inline_svg(figure, title, salt=salt))


def write_page(page: str, target: str | Path) -> None:
    """Writes a page to a path or a URL (s3://, hdfs://, …).

    Raises:
        StorageError: it cannot be written.
    """
    # The query of a URL (an S3 endpoint, for example) belongs to the storage and not to the file.
    address, mark, query = str(target).partition("?") if "://" in str(target) else (str(target), "", "")
    folder, slash, file = address.rpartition("/")
    open_storage((folder or slash or ".") + mark + query).write(file, page.encode())
