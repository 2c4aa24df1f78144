-- Adds hits that happened while Redis was away. Sent again, the same batch counts once.
-- KEYS: counter.  ARGV: width of a slot in milliseconds, slots in a window, sender, number of the batch, then pairs
-- of milliseconds ago and hits.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local width, slots = tonumber(ARGV[1]), tonumber(ARGV[2])
local sender, batch = 'from:' .. ARGV[3], tonumber(ARGV[4])

if (tonumber(redis.call('HGET', KEYS[1], sender)) or 0) >= batch then
  return 0
end
local current = math.floor(now / width)
for at = 5, #ARGV, 2 do
  local slot = math.floor((now - tonumber(ARGV[at])) / width)
  if slot + slots >= current then
    redis.call('HINCRBY', KEYS[1], string.format('%.0f', slot), ARGV[at + 1])
  end
end
redis.call('HSET', KEYS[1], sender, ARGV[4])
redis.call('PEXPIRE', KEYS[1], width * (slots + 2))
return 1
