"""The replay store: persistence (store), bytes (codec) and choice (policies)."""
