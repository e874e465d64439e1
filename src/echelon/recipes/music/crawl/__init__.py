"""Songs brought to a folder: from pages that list them, from lists of addresses, and from the public archive FMA."""
