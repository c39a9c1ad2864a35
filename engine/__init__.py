"""The engine: all that runs on the device. Start at :class:`everface.engine.session.Engine`."""
