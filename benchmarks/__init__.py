"""Measurements of recur: each prints what it found and leaves records.jsonl, summary.json and index.html in --out."""

import os

# Before SciPy's BLAS starts: its threads gain nothing on matrices as small as ours, and on busy cores they wait for
# each other, spinning, which makes a spectrum forty times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
