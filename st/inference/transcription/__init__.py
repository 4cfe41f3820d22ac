"""What was said: by which head, in which language, with which words."""
