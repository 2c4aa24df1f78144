-- Replaces a mark, or nothing, with a value; without one, removes the mark.
-- KEYS: value.  ARGV: mark, milliseconds to keep, value if there is one.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then
  return 0
end
if ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
return 1
