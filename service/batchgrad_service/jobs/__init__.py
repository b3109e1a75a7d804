"""Jobs as processes: supervisor, attempts, restarts, recovery, replays, reports."""
