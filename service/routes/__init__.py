"""The routes, one module a feature: each has ``blueprint(wiring)``."""
