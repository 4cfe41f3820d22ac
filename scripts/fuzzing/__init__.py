"""Mutation fuzz: valid inputs (``seeds``), changes (``mutators``, ``containers``), doors (``kinds``), and how they are run."""
