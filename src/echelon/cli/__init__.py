"""The command line: thin over recipes, `echelon.fit` and the report."""
