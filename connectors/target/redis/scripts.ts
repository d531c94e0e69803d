/**
 * What runs inside Redis. Guarantee: each row of a call changes by itself, at once and only forward: never under another epoch than the
 * highest, never from a later place to an earlier one; a deleted row leaves its place behind, so that no older version comes back.
 *
 * A guard is 8 characters of the migration's generation, 24 of the place (commit LSN, ordinal; of fixed width, so that text order is
 * their order), then the names of the sets that hold the row, each behind a space. It stands in a field of the hash, as the first member
 * of the JSON object, or, for a row that is not there, in a key of its own in the row's slot.
 */
import { GUARD_FIELD } from '#schemas/mapping/redis/compile-redis.ts';

const FENCE = `
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return redis.error_reply('CFEPOCH a later sink has taken over') end`;

/** ARGV: epoch, generation, place, form, what guards of absent rows begin with, whether keys have a hash tag. */
const ROWS_COMMON = `${FENCE}
local generation, place, isHash, prefix, tagged = ARGV[2], ARGV[3], ARGV[4] == 'hash', ARGV[5], ARGV[6] == '1'
local call, pcall, sub, find = redis.call, redis.pcall, string.sub, string.find
local function absentGuard(key)
  if tagged then return prefix .. key end
  return prefix .. '{' .. key .. '}'
end
local function guardOf(key)
  if isHash then return pcall('HGET', key, '${GUARD_FIELD}') end
  local head = pcall('GETRANGE', key, 0, 1023)
  if type(head) == 'table' then return head end
  if sub(head, 1, 8) ~= '{"${GUARD_FIELD}":"' then return false end
  local close = find(head, '"', 9, true)
  if not close then
    head = call('GET', key)
    close = find(head, '"', 9, true)
  end
  return sub(head, 9, close - 1)
end
local function leaveSets(guard, key, kept)
  for name in string.gmatch(sub(guard, 33), '[^ ]+') do
    if not kept or not find(kept .. ' ', ' ' .. name .. ' ', 1, true) then
      local reply = pcall('SREM', name, key)
      if type(reply) == 'table' then return reply.err .. ' (the set ' .. name .. ')' end
    end
  end
end`;

/**
 * ARGV beyond: time to live in seconds (0: none), options (m: a row may stand there that is not ours, s: a missing row is reported, u: the
 * place does not count), rows packed, five values each: operation, key, sets, fields and values (or a JSON object's rest), fields to clear.
 * Returns: rows that were not newer, indexes of missing rows, indexes and messages of refused ones.
 *
 * The sets come first and the guarded row last: what fails on the way leaves the row as it was, and no name in a set that the row's
 * guard does not tell, so that the same change written again does all of it.
 */
export const WRITE_ROWS: string = `${ROWS_COMMON}
local ttl, mayExist, strict, unguarded = tonumber(ARGV[7]), find(ARGV[8], 'm', 1, true), find(ARGV[8], 's', 1, true), find(ARGV[8], 'u', 1, true)
local rows = cmsgpack.unpack(ARGV[9])
local stale, missing, refused = 0, {}, {}
local function joinSets(sets, key, joined)
  for name in string.gmatch(sets, '[^ ]+') do
    local reply = pcall('SADD', name, key)
    if type(reply) == 'table' then return reply.err .. ' (the set ' .. name .. ')' end
    if reply == 1 then joined[#joined + 1] = name end
  end
end
local function putRow(key, guard, fields, cleared, mayStand)
  local reply
  if not isHash then
    local text = '{"${GUARD_FIELD}":"' .. guard .. '"' .. fields
    if ttl > 0 then reply = pcall('SET', key, text, 'EX', ttl) else reply = pcall('SET', key, text) end
    return reply.err
  end
  if mayStand and #cleared > 0 then reply = pcall('HDEL', key, unpack(cleared)) end
  if mayStand and ttl == 0 and type(reply) ~= 'table' then reply = pcall('PERSIST', key) end
  if type(reply) ~= 'table' then reply = pcall('HSET', key, '${GUARD_FIELD}', guard, unpack(fields)) end
  if ttl > 0 and type(reply) ~= 'table' then reply = pcall('EXPIRE', key, ttl) end
  return type(reply) == 'table' and reply.err
end
local function writeRow(op, key, sets, fields, cleared, guard)
  local live = guard and true
  if not live then guard = call('GET', absentGuard(key)) end
  local known = guard and sub(guard, 1, 8) == generation
  if known and sub(guard, 9, 32) >= place and not unguarded then
    stale = stale + 1
  elseif op == 3 then
    local fault = live and leaveSets(guard, key)
    if fault then return fault end
    call('UNLINK', key)
    call('SET', absentGuard(key), generation .. place)
  elseif op == 2 and not (live and known) then
    return strict and 'missing'
  else
    local joined = {}
    local fault = joinSets(sets, key, joined) or live and leaveSets(guard, key, sets)
      or putRow(key, generation .. place .. sets, fields, cleared, live or mayExist)
    if fault then
      for _, name in ipairs(joined) do call('SREM', name, key) end
      return fault
    end
    if ttl > 0 then
      call('SET', absentGuard(key), generation .. place)
    elseif guard and not live then
      call('DEL', absentGuard(key))
    end
  end
end
for i = 1, #rows, 5 do
  local key = rows[i + 1]
  local guard = guardOf(key)
  local fault
  if type(guard) == 'table' then fault = guard.err else fault = writeRow(rows[i], key, rows[i + 2], rows[i + 3], rows[i + 4], guard) end
  if fault == 'missing' then
    missing[#missing + 1] = (i - 1) / 5
  elseif fault then
    if not find(fault, 'WRONGTYPE', 1, true) then return redis.error_reply(fault) end
    refused[#refused + 1] = (i - 1) / 5
    refused[#refused + 1] = fault
  end
end
return { stale, missing, refused }`;

/** ARGV beyond: keys packed. Removes the rows of before the place. Returns how many. */
export const SWEEP_ROWS: string = `${ROWS_COMMON}
local swept = 0
for _, key in ipairs(cmsgpack.unpack(ARGV[7])) do
  local guard = guardOf(key)
  if type(guard) == 'table' then guard = false end
  if not guard or sub(guard, 1, 8) ~= generation or sub(guard, 9, 32) < place then
    local fault = guard and leaveSets(guard, key)
    if fault and not find(fault, 'WRONGTYPE', 1, true) then return redis.error_reply(fault) end
    swept = swept + call('UNLINK', key)
  end
end
return swept`;

/** ARGV: epoch, milliseconds, keys packed. Guards of absent rows that the stored progress has passed. */
export const DROP_GUARDS: string = `${FENCE}
for _, key in ipairs(cmsgpack.unpack(ARGV[3])) do redis.call('PEXPIRE', key, ARGV[2]) end
return 1`;

/**
 * KEYS: progress, tables, markers. ARGV: epoch, the offset that must stand there ('' = any; the new one: a cluster's client has sent the call
 * again), fields, tables, markers, score, the new offset; packed.
 */
export const WRITE_PROGRESS: string = `${FENCE}
local offset = redis.call('HGET', KEYS[1], 'logOffset') or ''
if ARGV[2] ~= '' and offset ~= ARGV[2] and offset ~= ARGV[7] then
  return redis.error_reply('CFSTATE the stored progress is another one')
end
local fields, tables, markers = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
for i = 1, #fields, 2 do redis.call('HSET', KEYS[1], fields[i], fields[i + 1]) end
for i = 1, #tables, 2 do redis.call('HSET', KEYS[2], tables[i], tables[i + 1]) end
for _, id in ipairs(markers) do redis.call('ZADD', KEYS[3], ARGV[6], id) end
if #markers > 0 then redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1001) end
return 1`;

/**
 * KEYS: progress. ARGV: generation if there is none, instance, hash of the mapping, time. Returns the new epoch: the first one is the
 * time, so that a server which lost everything does not give an epoch for the second time.
 */
export const RAISE_EPOCH: string = `
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[4])
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSETNX', KEYS[1], 'generation', ARGV[1])
redis.call('HSETNX', KEYS[1], 'mode', 'parallel')
redis.call('HSET', KEYS[1], 'instance', ARGV[2], 'mappingHash', ARGV[3], 'updatedAt', ARGV[4])
return epoch`;

/** KEYS: lock. ARGV: holder, instance, milliseconds. Returns 1 when it is the holder's: free, its own, or left by the same instance. */
export const TAKE_LOCK: string = `
local held = redis.call('HMGET', KEYS[1], 'holder', 'instance')
if held[1] and held[1] ~= ARGV[1] and held[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'instance', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;

/** KEYS: lock. ARGV: holder, milliseconds. Renews it, or with 0 gives it up, where it is still the holder's. */
export const KEEP_LOCK: string = `
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

/**
 * ARGV: keys and commands packed, a key that is not there (it stands where a command says KEY). Returns the indexes of keys that the user may
 * not reach and of commands that it may not run. From Redis 7 on nothing is run but GET; before, a command that begins with ? is left out.
 */
export const ASK_RIGHTS: string = `
local find = string.find
local function denial(reply)
  local text = type(reply) == 'table' and reply.err
  return text and (find(text, 'ACL failure in script', 1, true) or find(text, 'user executing the script', 1, true)) and text
end
local keys, commands = {}, {}
for i, key in ipairs(cmsgpack.unpack(ARGV[1])) do
  local text = denial(redis.pcall('GET', key))
  if text and (find(text, 'to access', 1, true) or find(text, 'access at least', 1, true)) then keys[#keys + 1] = i end
end
if keys[1] == 1 then return { keys, commands } end
for i, form in ipairs(cmsgpack.unpack(ARGV[2])) do
  local words = {}
  for word in string.gmatch(form, '[^ ?]+') do words[#words + 1] = word == 'KEY' and ARGV[3] or word end
  local ok
  if redis.acl_check_cmd then
    local asked, answer = pcall(redis.acl_check_cmd, unpack(words))
    ok = not asked or answer
  else
    ok = string.sub(form, 1, 1) == '?' or not denial(redis.pcall(unpack(words)))
  end
  if not ok then commands[#commands + 1] = i end
end
return { keys, commands }`;

/** KEYS: the fence of one slot. ARGV: epoch. Never lowers it. */
export const RAISE_FENCE: string = `
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'epoch', ARGV[1]) end
return 1`;

/** KEYS: audit. ARGV: the head as it was read ('': none), number, record, the new head. Returns 0 where another record came first. */
export const APPEND_AUDIT: string = `
if (redis.call('HGET', KEYS[1], 'head') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3], 'head', ARGV[4])
return 1`;
