-- Lets a claim stand longer.
-- KEYS: value.  ARGV: mark, milliseconds until it ends by itself.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
