"""Formulas as MathML: what every browser draws by itself.

The site must be readable without a network, so no script is loaded from elsewhere; and it must be
built without LaTeX. MathML needs neither, nor a mathematics script of some megabytes copied into
the repository: the browser sets it in the text's own size and colour, and a screen reader reads
it.
"""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer to Sphinx; ``html_math_renderer`` in conf.py asks for it."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    writer.body.append(mathml(node))
    raise nodes.SkipNode


def block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on its own, with its number where it has one."""
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    writer.body.append(mathml(node, display="block"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def mathml(node: nodes.Node, *, display: str = "inline") -> str:
    """A formula as MathML; a warning, and so a failed build, where it is not understood."""
    made = convert(node.astext(), display=display)
    if re.search(r">&<|\\", made):
        logging.getLogger(__name__).warning(
            "formula not understood: %s", node.astext(), location=node
        )
    return made
