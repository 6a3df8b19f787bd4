"""What happens to contacts: rows read, checked, asked for in batches, and written out in order."""
