"""The one tuning loop."""
