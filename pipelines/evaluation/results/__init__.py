"""Results of a sweep: tables, intervals, tests, plots, contact sheets, one page."""
