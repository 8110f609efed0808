"""One client: its data, its memory, its round."""
