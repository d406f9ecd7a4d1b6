"""Meterhouse: a self-hosted metering and billing API server."""

import decimal

__version__ = "0.1.0"

# Money and usage are exact. The widest stored number has 57 integer digits and 19 decimals (a Decimal(76, 19) sum in
# ClickHouse); 100 digits leave room for one product of two such numbers with a price. Set before any arithmetic so
# that every thread and task inherits it.
decimal.DefaultContext.prec = 100
decimal.getcontext().prec = 100
