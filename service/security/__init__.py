"""Who asks: tokens and API keys become principals."""
