"""`python -m meterhouse` is `meterhouse`."""

from meterhouse.cli import main

main()
