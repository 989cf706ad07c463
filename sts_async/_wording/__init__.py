"""
The words of messages: names of options, printable text, and reasons of operating system errors.

A rule belongs here if it only decides how an error, a warning or a log line is written. Pure: imports no other room.
"""
