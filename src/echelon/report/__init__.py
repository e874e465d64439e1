"""What happened in a run, for people: tables and live progress in the terminal, plots, and one HTML page.

Everything here works on plain data (config.json, results.json and the events of a run) and starts nothing.
"""
