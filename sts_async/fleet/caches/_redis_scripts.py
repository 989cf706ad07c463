"""
The scripts that a server runs for leases and values. Each is one atomic step.

Their keys are described in `_redis_commands`; the scripts of shares are in `_redis_shares`.
"""

import hashlib


class Script:
    """
    A script of the server.

    Attributes:
        text: Its text in Lua.
        digest: The name by which the server knows it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


# The functions that several scripts have. A cluster and a user with few permissions may refuse a message to a channel:
# then others find out by polling.
_WAKE = """
local function wake(channel, message)
  redis.pcall('PUBLISH', channel, message)
end
"""
_FENCES = """
local function fences(key)
  local found = redis.pcall('HMGET', key, 'taken', 'published')
  local taken, published = tonumber(found[1]), tonumber(found[2])
  if not found.err and not found[1] and not found[2] then
    return nil, nil
  end
  if taken and taken >= 0 and taken < 2 ^ 53 and (not published or published >= 0 and published <= taken) then
    return taken, published
  end
  redis.call('DEL', key)  -- another program wrote it; no lease could publish any more
  return nil, nil
end
"""

# KEYS: lease, fence. ARGV: owner, milliseconds of the lease, milliseconds of the fence, the last fence that has
# published, as far as the caller knows, and the longest time of a lease. A key that has no end, or a later one, is no
# lease: another program wrote it.
TAKE = Script(
    _FENCES
    + """
local taken, published = fences(KEYS[2])
local known = tonumber(ARGV[4])
if known and (published or 0) > known then
  return {0, redis.call('PTTL', KEYS[1]), published}
end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left <= tonumber(ARGV[5]) then
    return {0, left, published or 0}
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local time = redis.call('TIME')
local fence = math.max((taken or 0) + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[2], 'taken', string.format('%.0f', fence))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {1, fence, published or 0}
"""
)

# KEYS: lease. ARGV: owner, milliseconds.
RENEW = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

# KEYS: value, lease, fence. ARGV: owner, fence, value, milliseconds, milliseconds of the fence, channel, digest.
PUBLISH = Script(
    _WAKE
    + _FENCES
    + """
local taken, published = fences(KEYS[3])
local fence = tonumber(ARGV[2])
local accepted = taken and taken >= fence and (published or 0) < fence
if accepted then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  redis.call('HSET', KEYS[3], 'published', ARGV[2])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
  wake(ARGV[6], ARGV[7] .. ' ' .. ARGV[2])
end
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
  if not accepted then
    wake(ARGV[6], ARGV[7])
  end
end
return accepted and 1 or 0
"""
)

# KEYS: lease. ARGV: owner, channel, digest.
GIVE_BACK = Script(
    _WAKE
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
wake(ARGV[2], ARGV[3])
return 1
"""
)
