"""Parts of ``everface.bench.replay``: timelines, methods, cells, tables, plots and the page."""
