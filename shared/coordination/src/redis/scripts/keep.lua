-- Keeps a value of a scope, and makes the scope's oldest values go where there would be too much.
-- KEYS: value, index of the scope (name by end), sizes of the scope (bytes by name, their sum under '').
-- ARGV: value, name, milliseconds to keep, entries at most, bytes at most, what the keys of values begin with.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local ttl = tonumber(ARGV[3])

local function forget(name)
  local size = tonumber(redis.call('HGET', KEYS[3], name) or 0)
  if size > 0 then
    redis.call('HINCRBY', KEYS[3], '', -size)
  end
  redis.call('HDEL', KEYS[3], name)
  redis.call('ZREM', KEYS[2], name)
end

for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  forget(name)
end
forget(ARGV[2])

redis.call('SET', KEYS[1], ARGV[1], 'PX', ttl)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ttl), ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], #ARGV[1])
local bytes = redis.call('HINCRBY', KEYS[3], '', #ARGV[1])

while redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest or oldest == ARGV[2] then
    break
  end
  redis.call('DEL', ARGV[6] .. oldest)
  forget(oldest)
  bytes = tonumber(redis.call('HGET', KEYS[3], ''))
end

if redis.call('PTTL', KEYS[2]) < ttl then
  redis.call('PEXPIRE', KEYS[2], ttl + 1000)
  redis.call('PEXPIRE', KEYS[3], ttl + 1000)
end
return 1
