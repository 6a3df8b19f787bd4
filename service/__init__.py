"""The Flask application: HTTP and WebSocket, and what they need. See ``service.app``."""
