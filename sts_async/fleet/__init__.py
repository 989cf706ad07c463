"""
A fleet: the credentials of any number of identities, kept fresh in one event loop or on one host.

fleet        CredentialsFleet: get, peek, add, remove, pause, resume, each, snapshot, failing
identities   requests and providers as identities; chains of them
caches/      caches that processes share: files of one host

The refresh of one provider belongs in `credentials`. This room has the rules for many identities together: when each is
refreshed, in which order, and at which rate.
"""
