"""What a run directory becomes elsewhere: reports, tables, data sets, trackers' files."""
