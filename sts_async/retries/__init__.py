"""
Retry policies: decisions, as values. Nothing here sleeps, reads a clock or draws a random number.

A policy is shared by all calls of a client, so that one failing caller cannot start a storm of retries; the limiters of
the adaptive ones are shared by all clients in the process that send for one account in one region.
"""

from ._policies import AdaptiveRetries, NoRetries, StandardRetries
from ._rate_limiter import Limiter

__all__ = ["AdaptiveRetries", "Limiter", "NoRetries", "StandardRetries"]
