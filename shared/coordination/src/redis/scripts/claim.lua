-- Puts a mark where there is nothing.
-- KEYS: value.  ARGV: mark, milliseconds until it ends by itself.
-- Returns: what stands there already, or nothing.
local held = redis.call('GET', KEYS[1])
if not held then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return held
