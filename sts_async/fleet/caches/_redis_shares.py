"""
The shares of workers in the limits of their accounts, computed by a script on Redis.

A worker is a fleet of one process. Redis has the workers, what each needs, and their shares:

    PREFIX:{workers}:members    the workers, by the time at which they are forgotten
    PREFIX:{workers}:shares     a hash: what is recorded of each worker, and the sums of each scope

The time that a script takes depends on the number of scopes of one worker, and on the logarithm of the number of
workers: it keeps sums, and never looks at all workers. If a worker has sent no beat for too long, the beat of another
one removes it.

The clock is that of the server. After a time without beats, the server may not know all workers, for example because it
lost its data. Then no share grows until all workers have told which shares they use. If another program wrote there
what cannot be read, all is forgotten, and learned again.

Scopes are recorded as digests, because they are ids of accounts.
"""

import hashlib
from collections.abc import Mapping

from . import _shares
from ._redis_commands import RedisFailed, RunsScripts, whole_numbers
from ._redis_scripts import Script
from ._shares import Answer

_MILLISECONDS = 1000

# `drop` removes a worker from all sums. The sums are whole numbers, so they do not drift.
_DROP = """
local members, shares = KEYS[1], KEYS[2]
local function forget()
  redis.call('DEL', members, shares)
end
local function number(field)
  return tonumber(redis.call('HGET', shares, field) or '0')
end
local function add(field, value)
  redis.call('HINCRBY', shares, field, string.format('%.0f', value + 0))  -- not "-0"
end
local function release(scope, need, part)
  if number('workers:' .. scope) <= 1 then
    redis.call('HDEL', shares, 'workers:' .. scope, 'need:' .. scope, 'part:' .. scope)
  else
    add('workers:' .. scope, -1)
    add('need:' .. scope, -need)
    add('part:' .. scope, -part)
  end
end
local function drop(worker)
  redis.call('ZREM', members, worker)
  local record = redis.call('HGET', shares, 'worker:' .. worker)
  if record then
    redis.call('HDEL', shares, 'worker:' .. worker)
    add('count', -1)
    for scope, need, part in string.gmatch(record, '(%x+) (%d+) (%d+)') do
      release(scope, tonumber(need), tonumber(part))
    end
  end
end
"""

# KEYS: members, shares.
# ARGV: worker; workers as far as it knows; the constants of `_shares`: whole, reserved, milliseconds between beats, the
# same for all workers together, beats until it is forgotten; then of each scope: digest, need, parts that it uses.
BEAT = Script(
    _DROP
    + """
local function beat()
  local worker, known = ARGV[1], tonumber(ARGV[2])
  local whole, reserved = tonumber(ARGV[3]), tonumber(ARGV[4])
  local beat_of_one, beat_of_all, lapse = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)

  if number('count') ~= redis.call('ZCARD', members) or now < number('last') then
    forget()  -- one of the two was lost, or the clock went back
  end
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', now, 'LIMIT', 0, 100)) do
    drop(other)
  end

  local before = {}
  local record = redis.call('HGET', shares, 'worker:' .. worker)
  if record then
    for scope, need, part in string.gmatch(record, '(%x+) (%d+) (%d+)') do
      before[scope] = {tonumber(need), tonumber(part)}
    end
  else
    add('count', 1)
    redis.call('ZADD', members, now, worker)
  end

  local count = redis.call('ZCARD', members)
  local last, begun = number('last'), number('begun')
  local pause = math.max(beat_of_one, beat_of_all * math.max(count, known))
  if now - last > 2 * pause then
    begun = now
  end
  local is_learning = now - begun < pause
  if is_learning then
    count = math.max(count, known)
  end
  pause = math.max(beat_of_one, beat_of_all * count)
  redis.call('HSET', shares, 'last', now, 'begun', begun)
  redis.call('ZADD', members, now + lapse * pause, worker)

  local told, parts, answer = {}, {}, {count}
  for index = 8, #ARGV, 3 do
    told[ARGV[index]] = true
  end
  for scope, of in pairs(before) do
    if not told[scope] then
      release(scope, of[1], of[2])
    end
  end
  for index = 8, #ARGV, 3 do
    local scope, need, used = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
    local of = before[scope]
    if not of then
      add('workers:' .. scope, 1)
    end
    add('need:' .. scope, need - (of and of[1] or 0))
    local workers, needs = number('workers:' .. scope), number('need:' .. scope)
    -- The workers that have not told this scope may send in it at once, each with its part of the reserve.
    local most = whole - math.floor(reserved * (count - workers) / count)
    local free = math.max(0, most - number('part:' .. scope))
    local part = of and of[2]
    if not of then
      part = math.min(used, free)
      free = free - part
    end
    local divided = math.min(needs, whole - reserved)
    local fair = (most - divided) / workers
    if needs > 0 then
      fair = fair + divided * (need / needs)
    end
    fair = math.floor(fair)
    if fair < part then
      part = fair
    elseif not is_learning then
      part = math.min(fair, part + free)
    end
    add('part:' .. scope, part - (of and of[2] or 0))
    parts[#parts + 1] = string.format('%s %.0f %.0f', scope, need, part)
    answer[#answer + 1] = part
  end
  redis.call('HSET', shares, 'worker:' .. worker, table.concat(parts, ';'))
  redis.call('PEXPIRE', members, 2 * lapse * pause)
  redis.call('PEXPIRE', shares, 2 * lapse * pause)
  return answer
end

local answered, answer = pcall(beat)
if not answered then
  forget()  -- another program wrote what has no meaning, or this fails as well
  answer = beat()
end
return answer
"""
)

# KEYS: members, shares. ARGV: worker.
LEAVE = Script(
    _DROP
    + """
if not pcall(drop, ARGV[1]) then
  forget()
end
return redis.call('ZCARD', members)
"""
)


class RedisShares:
    """
    The beats of workers. Each raises `RedisFailed`, and never waits longer than the bound of *commands*.

    Args:
        commands: Runs the scripts.
        prefix: Begins the name of each key.
    """

    def __init__(self, commands: RunsScripts, *, prefix: str) -> None:
        self._commands = commands
        self._keys = [f"{prefix}:{{workers}}:{part}" for part in ("members", "shares")]

    async def beat(self, worker: str, *, workers: int, needs: Mapping[str, int], used: Mapping[str, int]) -> Answer:
        """
        Tell what a worker needs, and return its shares.

        Args:
            worker: The name of the worker, of which there is one in all processes.
            workers: Number of workers, as far as it knows.
            needs: What it needs, in parts of the limit, by scope.
            used: The parts of the limit that it uses, by scope.
        """
        arguments: list[str | int] = [
            worker,
            workers,
            _shares.WHOLE,
            _shares.RESERVED,
            round(_shares.BEAT_SECONDS * _MILLISECONDS),
            round(_shares.BEAT_SECONDS_OF_ALL * _MILLISECONDS),
            _shares.LAPSE_BEATS,
        ]
        for scope, need in needs.items():
            arguments += [digest_of(scope), need, used[scope]]
        count, *parts = whole_numbers(await self._commands.call(BEAT, self._keys, arguments), 1 + len(needs))
        # Whoever can write to Redis could otherwise give a worker more than the limit.
        if count < 1 or not all(0 <= part <= _shares.WHOLE for part in parts):
            raise RedisFailed("the shares of the workers are not those of this library", is_outage=False)
        return Answer(count, dict(zip(needs, parts, strict=True)))

    async def leave(self, worker: str) -> None:
        """Forget a worker. Its shares are free at once."""
        await self._commands.call(LEAVE, self._keys, [worker])


def digest_of(scope: str) -> str:
    """Return the name of a scope on the server."""
    return hashlib.sha256(scope.encode()).hexdigest()[:32]
