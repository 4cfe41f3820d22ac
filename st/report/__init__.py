"""Charts for pages, of trainings and evaluations."""
