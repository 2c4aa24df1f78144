-- Lets an id cool down, unless it does so for longer already, and tells everyone.
-- KEYS: cooldowns.  ARGV: id, milliseconds left, milliseconds by which the key outlives its meaning, channel, reason.
-- Returns the version of the change, 0 when there was none.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local ends = math.floor(now_us / 1000) + tonumber(ARGV[2])
local field = 'e:' .. ARGV[1]

local held = redis.call('HGET', KEYS[1], field)
if held and tonumber(string.match(held, '^%d+')) >= ends then
  return 0
end

-- The clock makes versions grow over a loss of data too, the last one over a clock that went back.
local version = math.max(now_us, (tonumber(redis.call('HGET', KEYS[1], 'v')) or 0) + 1)
local text = string.format('%.0f', version)
redis.call('HSET', KEYS[1], field, string.format('%.0f|', ends) .. text .. '|' .. ARGV[5], 'v', text)
local lifetime = tonumber(ARGV[2]) + tonumber(ARGV[3])
if redis.call('PTTL', KEYS[1]) < lifetime then
  redis.call('PEXPIRE', KEYS[1], lifetime)
end
redis.call('PUBLISH', ARGV[4], 'cool|' .. text .. '|' .. ARGV[2] .. '|' .. #ARGV[1] .. '|' .. ARGV[1] .. ARGV[5])
return version
