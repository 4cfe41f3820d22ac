"""Published layouts of corpora and common kinds of tables, one a file, each read into rows."""
