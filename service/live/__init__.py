"""Live updates over WebSockets: the protocol is in ``docs/websocket.md``."""
