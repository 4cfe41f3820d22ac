"""What heads that classify say of recordings, and how it becomes lines."""
