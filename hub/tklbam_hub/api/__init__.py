"""The API that clients speak: its fields, its answers and the names of its errors."""
