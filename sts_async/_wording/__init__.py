"""
Words of messages: names of options, printable text, and reasons of operating system errors.

A rule belongs here if it only affects the text of an error, a warning or a log line. Pure: imports no other room.
"""
