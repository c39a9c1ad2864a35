"""The engine: all that runs on the device. Start at ``everface.engine.session.Engine``."""
