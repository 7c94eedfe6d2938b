"""Measurements of recur: each prints what it found and leaves records.jsonl, summary.json and index.html in --out."""
