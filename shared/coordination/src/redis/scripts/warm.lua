-- Ends a cooldown, unless it began after the caller decided so, and tells everyone.
-- KEYS: cooldowns.  ARGV: id, milliseconds since the caller decided, channel.
-- Returns the version of the change, 0 when there was none.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local field = 'e:' .. ARGV[1]

local held = redis.call('HGET', KEYS[1], field)
-- The caller's clock ticks in milliseconds: it may have decided up to one later than it says.
if not held or tonumber(string.match(held, '^%d+|(%d+)')) > now_us - ARGV[2] * 1000 + 1000 then
  return 0
end

local version = math.max(now_us, (tonumber(redis.call('HGET', KEYS[1], 'v')) or 0) + 1)
local text = string.format('%.0f', version)
redis.call('HDEL', KEYS[1], field)
redis.call('HSET', KEYS[1], 'v', text)
redis.call('PUBLISH', ARGV[3], 'warm|' .. text .. '|0|' .. #ARGV[1] .. '|' .. ARGV[1])
return version
