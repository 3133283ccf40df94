"""What commands return beside 0 for success."""

FAILED = 1  # the work failed
USAGE_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143
