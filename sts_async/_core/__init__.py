"""Values in, values out: the rules of the library, with no clock, socket or event loop in sight."""
