"""The version, in its one place: the build reads it here, and so does the user agent."""

VERSION = "0.1.0"
