"""What the corpus says: releases, archives, tables, splits."""
