"""Published files brought to a folder: resumed where they were cut off, verified, unpacked."""
