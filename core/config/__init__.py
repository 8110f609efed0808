"""A run as frozen data, and how it is read and changed."""
