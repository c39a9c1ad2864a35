"""Parts of ``everface.bench.replay``: timelines, methods, cells, rows and plots."""
