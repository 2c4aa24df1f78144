-- Counts one hit in a sliding window, unless the limit is reached. See windows.rs: the same rule.
-- KEYS: counter.  ARGV: width of a slot in milliseconds, slots in a window, limit.
-- Returns: allowed (1 or 0), remaining, milliseconds to wait when refused.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local width, slots, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local current = math.floor(now / width)

local counts, used = {}, 0
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local slot = tonumber(all[at])
  if slot then
    if slot + slots < current then
      redis.call('HDEL', KEYS[1], all[at])
    else
      counts[#counts + 1] = {slot, tonumber(all[at + 1])}
      used = used + tonumber(all[at + 1])
    end
  end
end

if used < limit then
  redis.call('HINCRBY', KEYS[1], string.format('%.0f', current), 1)
  redis.call('PEXPIRE', KEYS[1], width * (slots + 2))
  return {1, limit - used - 1, 0}
end

-- Slots run out oldest first, until one more fits.
table.sort(counts, function(a, b) return a[1] < b[1] end)
local wait = width * slots
for _, slot in ipairs(counts) do
  used = used - slot[2]
  if used < limit then
    wait = (slot[1] + slots + 1) * width - now
    break
  end
end
return {0, 0, math.max(wait, 1)}
