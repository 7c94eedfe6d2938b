"""Records (JSON lines) to plots, tables and one self-contained HTML page; knows nothing of jax."""

from recur.report._compare import compare_pages as compare_pages
from recur._files import write_text as write_text
from recur.report._gradients import gradient_page as gradient_page
from recur.report._losses import loss_curves as loss_curves
from recur.report._page import Page as Page
from recur.report._plots import lag_curves as lag_curves
from recur.report._plots import parameter_norms as parameter_norms
from recur.report._records import append_jsonl as append_jsonl
from recur.report._records import normalize as normalize
from recur.report._records import read_jsonl as read_jsonl
from recur.report._records import write_csv as write_csv
from recur.report._records import write_json as write_json
from recur.report._records import write_jsonl as write_jsonl
from recur.report._svg import save_figure as save_figure
from recur.report._svg import to_svg as to_svg
from recur.report._tables import html_table as html_table
from recur.report._tables import markdown_table as markdown_table
from recur.report._tables import text_table as text_table

__all__ = [
    "Page",
    "append_jsonl",
    "compare_pages",
    "gradient_page",
    "html_table",
    "lag_curves",
    "loss_curves",
    "markdown_table",
    "normalize",
    "parameter_norms",
    "read_jsonl",
    "save_figure",
    "text_table",
    "to_svg",
    "write_csv",
    "write_json",
    "write_jsonl",
    "write_text",
]
