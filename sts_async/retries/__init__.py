"""
Retry policies: they decide about retries and pacing, and never sleep, read a clock or use randomness.

All calls of a client share one policy, so that many failing calls cannot cause a storm of retries. Adaptive policies
share rate limiters: all clients of the process have the same limiter for one account in one region.
"""

from ._policies import AdaptiveRetries, NoRetries, StandardRetries
from ._rate_limiter import Limiter

__all__ = ["AdaptiveRetries", "Limiter", "NoRetries", "StandardRetries"]
