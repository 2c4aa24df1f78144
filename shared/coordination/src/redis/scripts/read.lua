-- Reads all cooldowns, forgets those that are over, and notes that the caller is alive.
-- KEYS: cooldowns, members, epoch.  ARGV: caller, milliseconds a silent member counts, an epoch in case there is
-- none, milliseconds that it is kept.
-- Returns the epoch (another one means that the data were lost), the last version, the members, and then per
-- cooldown: id, milliseconds left, version, reason.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)

redis.call('SET', KEYS[3], ARGV[3], 'NX')
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[2], ARGV[2])

local answer = {
  redis.call('GET', KEYS[3]), redis.call('HGET', KEYS[1], 'v') or '0', tostring(redis.call('ZCARD', KEYS[2])),
}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  if string.sub(all[at], 1, 2) == 'e:' then
    local ends, version, reason = string.match(all[at + 1], '^(%d+)|(%d+)|(.*)$')
    local left = tonumber(ends) - now
    if left > 0 then
      answer[#answer + 1] = string.sub(all[at], 3)
      answer[#answer + 1] = string.format('%.0f', left)
      answer[#answer + 1] = version
      answer[#answer + 1] = reason
    else
      redis.call('HDEL', KEYS[1], all[at])
    end
  end
end
return answer
