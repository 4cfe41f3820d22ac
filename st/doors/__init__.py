"""What every door to foreign bytes needs: errors of parsers, bounds on work, names and values as they may be shown, locks."""
