"""Time limits and sizes that hold where a program gives none."""

CONNECT_TIMEOUT = 3.1  # s. Source: "Smart configuration defaults", AWS SDKs Reference Guide, standard mode
ATTEMPT_TIMEOUT = 10.0  # s
CLOSE_GRACE = 5.0  # s that closing may take
TASKS_GRACE = 4.5  # s of those, for tasks: the rest is for connections
DEADLINE = 30.0  # s for a whole call
FILE_SECONDS = 5.0  # s in which a file has to be read: a file system may hang
START_SECONDS = 60.0  # s in which a client has to be ready: it reads files
FETCH_SECONDS = 60.0  # s for one fetch of credentials, whose source has not said otherwise
ATTENDED_SECONDS = 300.0  # s for one that asks a person
LOGIN_SECONDS = 120.0  # s for one that may have to wait for another process, and then to renew a token
MAX_CONNECTIONS = 50  # as the 2015 Java client
MAX_RESPONSE_BYTES = 1 << 20
