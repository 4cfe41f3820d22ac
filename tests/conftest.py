"""Its presence lets tests in any folder import the modules that lie beside it."""
