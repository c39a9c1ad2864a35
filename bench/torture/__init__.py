"""Torture of the replay store: killed updates, malformed files, failing disks, lost power. Tests run samples of it."""
