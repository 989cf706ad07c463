"""Sources of credentials, one file each. All borrow the client's transport; none has connections of its own."""

from .environment import EnvironmentProvider
from .static import StaticProvider

__all__ = ["EnvironmentProvider", "StaticProvider"]
