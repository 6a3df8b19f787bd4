"""What Lethe is measured against. Each file stands alone and knows nothing of Lethe."""
