"""Parts of ``everface.bench.replay``: timelines, methods, cells, tables and plots."""
