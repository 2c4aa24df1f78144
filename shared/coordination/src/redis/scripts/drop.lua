-- Removes a value of a scope.
-- KEYS: value, index of the scope, sizes of the scope.  ARGV: name.
-- Returns: 1 when there was one, else 0.
local size = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0)
if size > 0 then
  redis.call('HINCRBY', KEYS[3], '', -size)
  redis.call('HDEL', KEYS[3], ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
