/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua scripts: each is one atomic step on the primary of a partition. docs/WIRE.md lists arguments and replies. */
#include "coherence/publish.h"

#include "core/observe/broken.h"

/* Refusals are negative integers; success is {n, server_ms}, of write n alone: a table costs as much as a command. */

#define LUA_TIME                                                                                                  \
    "local t = redis.call('TIME')\n"                                                                              \
    "local us = t[1] * 1000000 + t[2]\n"                                                                          \
    "local ms = (us - us % 1000) / 1000\n"

/* A number of ours within a script's text. */
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(text) #text

/* A counter is usable while a double holds it exactly. One that is missing, or is not, begins anew, and what its hash knew
   of clears is gone with it: then nothing from before counts (field b). */
#define LUA_USABLE "local function usable(n) return n and n >= 1 and n < 9007199254740992 end\n"
#define LUA_RESTART(key)                                                                                          \
    "  n = us\n"                                                                                                 \
    "  redis.call('UNLINK', " key ")\n"                                                                          \
    "  redis.call('HSET', " key ", 'n', string.format('%.0f', n), 'b', string.format('%.0f', n))\n"

/* A value comes with an empty head. A large one is patched where it lies: n at 3, written_at at 12. Putting the two together
   in Lua costs a second pass over every byte of it (Redis' Lua hashes each string it makes, all of it), which for a small
   one is less than a second command. */
#define LUA_PATCH "redis.pcall('SETRANGE', KEYS[1], 3, struct.pack('>I8', n) .. '\\207' .. struct.pack('>I8', ms))"

/* KEYS value, counter.  ARGV deadline_ms, not_before_ms, ttl_ms, publish command, channel, message before n, message
   after n, [value with an empty head, ["v" or "m"]]: without a value it is an invalidation; with "v" the message ends with
   the value as it is stored; with "m" the value is a marker, which is renewed like an invalidation: it is gone first.
   The invalidation's UNLINK comes first: memory limits can't refuse it, and having written once, the script is not
   refused its INCR for lack of memory either. Where it is refused all the same, the message can't have a number:
   UNTRUST makes every holder prove its entries anew. Once the counter has moved, whatever fails must be published too. */
#define LUA_WRITE_DUE                                                                                             \
    "local ARGV, pack = ARGV, struct.pack\n"                                                                      \
    "if ARGV[1] ~= '0' and ms - ARGV[1] > 0 then return -1 end\n"                                                 \
    "if ARGV[2] ~= '0' and ms - ARGV[2] <= 0 then return -2 end\n"
#define LUA_WRITE                                                                                                 \
    "local value, mode = ARGV[8], ARGV[9]\n"                                                                      \
    "local gone = not value or mode == 'm'\n"                                                                     \
    "if gone then redis.call('UNLINK', KEYS[1]) end\n"                                                            \
    "local n = redis.pcall('HINCRBY', KEYS[2], 'n', 1)\n"                                                         \
    "if type(n) == 'table' then\n"                                                                                \
    "  if gone then redis.call(ARGV[4], ARGV[5], '\\146\\8\\0') end\n"                                            \
    "  return n\n"                                                                                                \
    "end\n"                                                                                                       \
    "if n <= 1 or n >= 9007199254740992 then\n"                                                                   \
    LUA_RESTART("KEYS[2]")                                                                                        \
    "end\n"                                                                                                       \
    "local number = '\\207' .. pack('>I8', n)\n"                                                                  \
    "local rest = ARGV[7]\n"                                                                                      \
    "if value then\n"                                                                                             \
    "  local r\n"                                                                                                 \
    "  local small = #value <= 4096\n"                                                                            \
    "  if small or mode == 'v' then\n"                                                                            \
    "    local whole = '\\155\\1' .. number .. '\\207' .. pack('>I8', ms) .. string.sub(value, 21)\n"             \
    "    if small then value = whole end\n"                                                                       \
    "    if mode == 'v' then rest = rest .. whole end\n"                                                          \
    "  end\n"                                                                                                     \
    "  if ARGV[3] ~= '0' then r = redis.pcall('SET', KEYS[1], value, 'PX', ARGV[3])\n"                            \
    "  else r = redis.pcall('SET', KEYS[1], value) end\n"                                                         \
    "  if not small and not r.err then r = " LUA_PATCH " end\n"                                                   \
    "  if type(r) == 'table' and r.err then\n"                                                                    \
    "    redis.pcall('UNLINK', KEYS[1])\n"                                                                        \
    "    redis.call(ARGV[4], ARGV[5], '\\146\\8\\0')\n"                                                           \
    "    return r\n"                                                                                              \
    "  end\n"                                                                                                     \
    "end\n"                                                                                                       \
    "redis.call(ARGV[4], ARGV[5], ARGV[6] .. number .. rest)\n"                                                   \
    "return n\n"
static const char write_text[] = LUA_TIME LUA_WRITE_DUE LUA_WRITE;

/* The number at at in v, in two halves of 32 bits; at is moved on. */
#define LUA_UINT                                                                                                  \
    "local function uint()\n"                                                                                     \
    "  local b, hi, lo = string.byte(v, at) or 0, 0, nil\n"                                                       \
    "  at = at + 1\n"                                                                                             \
    "  if b < 128 then return 0, b end\n"                                                                         \
    "  if b == 204 then lo, at = struct.unpack('>I1', v, at)\n"                                                   \
    "  elseif b == 205 then lo, at = struct.unpack('>I2', v, at)\n"                                               \
    "  elseif b == 206 then lo, at = struct.unpack('>I4', v, at)\n"                                               \
    "  else hi, lo, at = struct.unpack('>I4I4', v, at) end\n"                                                     \
    "  return hi, lo\n"                                                                                           \
    "end\n"

/* new as a number of msgpack. */
#define LUA_TTL_FIELD                                                                                             \
    "  local f = '\\207' .. struct.pack('>I8', new)\n"                                                            \
    "  if new < 128 then f = string.char(new)\n"                                                                  \
    "  elseif new < 65536 then f = '\\205' .. struct.pack('>I2', new)\n"                                          \
    "  elseif new < 4294967296 then f = '\\206' .. struct.pack('>I4', new) end\n"

/* KEYS and ARGV[1] to [9] as in write, with a value, [9] "v" or "".  ARGV[10] the condition, [11] its number, [12] namespace's
   field. A set that happens only if what is there allows it: "=" it has the version [11], n and id as they stand in a value;
   ">" its app_version is less than the 8 bytes [11]; "0" it is the knowledge that the source has none. What was cleared, and for
   ">" and "0" what is past its end and kept for failures only, is not there. Refused, it has changed nothing, and answers the first
   29 bytes of what is there, null where nothing is. Sent again after it was executed it answers n once more: the value's id is its own. */
static const char write_if_text[] =
    LUA_TIME LUA_WRITE_DUE
    "local v, at = redis.call('GETRANGE', KEYS[1], 0, 67), 30\n"
    LUA_UINT
    "if #v < 33 or string.sub(v, 1, 2) ~= '\\155\\1' then v = false end\n"
    "if v then\n"
    "  local n = struct.unpack('>I8', v, 4)\n"
    "  if string.sub(v, 22, 29) == string.sub(ARGV[8], 22, 29) then return {n, ms} end\n"
    "  local c = redis.call('HMGET', KEYS[2], 'n', 'b', ARGV[12])\n"
    "  local floor = math.max(tonumber(c[2] or nil) or 0, tonumber(c[3] or nil) or 0)\n"
    "  if not c[1] or n < floor then v = false end\n"
    "end\n"
    "local holds = ARGV[10] ~= '='\n"
    "if v and ARGV[10] == '=' then\n"
    "  holds = string.sub(v, 4, 11) .. string.sub(v, 22, 29) == ARGV[11]\n"
    "elseif v then\n"
    "  local hi, lo = uint()\n"
    "  local ttl_hi, ttl_lo = uint()\n"
    "  local ttl = ttl_hi * 4294967296 + ttl_lo\n"
    "  holds = ttl > 0 and struct.unpack('>I8', v, 13) + ttl <= ms\n"
    "  if ARGV[10] == '>' then\n"
    "    local new_hi, new_lo = struct.unpack('>I4I4', ARGV[11])\n"
    "    holds = holds or new_hi > hi or new_hi == hi and new_lo > lo\n"
    "  else\n"
    "    uint()\n"
    "    local _, flags = uint()\n"
    "    holds = holds or flags % 64 >= 32\n"
    "  end\n"
    "end\n"
    "if not holds then return v and string.sub(v, 1, 29) end\n"
    LUA_WRITE;

/* KEYS counter, value ...  ARGV publish command, channel, least deadline_ms, the message behind n, apart, ttl_ms of all (empty:
   each has its own), value without its head (empty: an invalidation) ..., [ttl_ms ...].  apart is what is looked at only where they
   are not alike: 1 where an invalidation is among them (a byte), where in [4] the keys begin (two bytes), every deadline_ms
   in 8 bytes. What write does, for several keys, which share one n and are named
   by one message. Answers n where all was done, -1 where all came too late; else n, server_ms, and for each: 1, a refusal, or the
   error. A key whose SET fails is named all the same. */
static const char writes_text[] =
    LUA_TIME
    "local call, KEYS, ARGV, pack = redis.pcall, KEYS, ARGV, struct.pack\n"
    "local count, rest, all, gone, refused = #KEYS - 1, ARGV[4], ARGV[6], false, nil\n"
    "if ms - ARGV[3] > 0 then\n"
    "  local unpack = struct.unpack\n"
    "  local at, kept = unpack('>I2', ARGV[5], 2), {}\n"
    "  refused = {}\n"
    "  local front = string.sub(rest, 1, at)\n"
    "  at = at + 4\n"
    "  for i = 1, count do\n"
    "    local size = string.byte(rest, at) == 196 and 2 + string.byte(rest, at + 1) or 3 + unpack('>I2', rest, at + 1)\n"
    "    if ms > unpack('>I8', ARGV[5], 8 * i - 4) then refused[i] = -1\n"
    "    else kept[#kept + 1] = string.sub(rest, at, at + size - 1) end\n"
    "    at = at + size\n"
    "  end\n"
    "  if #kept == 0 then return -1 end\n"
    "  rest = front .. pack('>BI2', 220, #kept) .. table.concat(kept)\n"
    "end\n"
    "if string.byte(ARGV[5]) == 1 then\n"
    "  for i = 1, count do\n"
    "    if ARGV[i + 6] == '' and not (refused and refused[i]) then\n"
    "      redis.call('UNLINK', KEYS[i + 1])\n"
    "      gone = true\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local n = call('HINCRBY', KEYS[1], 'n', 1)\n"
    "if type(n) == 'table' then\n"
    "  if gone then redis.call(ARGV[1], ARGV[2], '\\146\\8\\0') end\n"
    "  local out = {0, ms}\n"
    "  for i = 1, count do out[i + 2] = refused and refused[i] or n end\n"
    "  return out\n"
    "end\n"
    "if n <= 1 or n >= 9007199254740992 then\n"
    LUA_RESTART("KEYS[1]")
    "end\n"
    "local front = pack('>BBBI8BI8', 155, 1, 207, n, 207, ms)\n"
    "for i = 1, count do\n"
    "  local tail, ttl, r = ARGV[i + 6], all, nil\n"
    "  if tail ~= '' and not (refused and refused[i]) then\n"
    "    if ttl == '' then ttl = ARGV[i + 6 + count] end\n"
    "    if ttl == '0' then r = call('SET', KEYS[i + 1], front .. tail)\n"
    "    else r = call('SET', KEYS[i + 1], front .. tail, 'PX', ttl) end\n"
    "    if r.err then\n"
    "      call('UNLINK', KEYS[i + 1])\n"
    "      refused = refused or {}\n"
    "      refused[i] = r\n"
    "    end\n"
    "  end\n"
    "end\n"
    "redis.call(ARGV[1], ARGV[2], pack('>BBBI8', 150, 2, 207, n) .. rest)\n"
    "if not refused then return n end\n"
    "local out = {n, ms}\n"
    "for i = 1, count do out[i + 2] = refused[i] or 1 end\n"
    "return out\n";

/* KEYS value, counter.  ARGV deadline_ms, publish command, channel, message before n, message after n, n0. An invalidation
   that was executed as n0, once more after a failover that may have lost it: a value of n0 or later stays. The message goes
   out all the same: somebody may have proven an older value meanwhile. Answers {n, server_ms, 1 where a value stayed}. */
static const char replay_text[] =
    LUA_TIME LUA_USABLE
    "local deadline = tonumber(ARGV[1])\n"
    "if deadline > 0 and ms > deadline then return -1 end\n"
    "local v = redis.call('GETRANGE', KEYS[1], 0, 10)\n"
    "local stays = #v == 11 and string.byte(v, 2) == 1 and string.byte(v, 3) == 207\n"
    "stays = stays and struct.unpack('>I8', string.sub(v, 4)) >= tonumber(ARGV[6])\n"
    "if not stays then redis.call('UNLINK', KEYS[1]) end\n"
    "local n = redis.pcall('HINCRBY', KEYS[2], 'n', 1)\n"
    "if type(n) == 'table' then\n"
    "  redis.call(ARGV[2], ARGV[3], '\\146\\8\\0')\n"
    "  return n\n"
    "end\n"
    "if n == 1 or not usable(n) then\n"
    LUA_RESTART("KEYS[2]")
    "end\n"
    "redis.call(ARGV[2], ARGV[3], ARGV[4] .. '\\207' .. struct.pack('>I8', n) .. ARGV[5])\n"
    "return {n, ms, stays and 1 or 0}\n";

/* KEYS value, counter.  ARGV deadline_ms, namespace's field, the last byte looked at, [ttl_ms]. The beginning of a value that has not
   ended and was not cleared, null where there is none: up to and with an empty list of tags, else up to that byte. With a ttl,
   0 for no end, where the value would end before that: its time begins anew, with that ttl, its version and bytes as they are. */
static const char look_text[] =
    LUA_TIME
    "local deadline = tonumber(ARGV[1])\n"
    "if deadline > 0 and ms > deadline then return -1 end\n"
    "local v, at = redis.call('GETRANGE', KEYS[1], 0, ARGV[3]), 30\n"
    LUA_UINT
    "if #v < 33 or string.sub(v, 1, 2) ~= '\\155\\1' then return false end\n"
    "local c = redis.call('HMGET', KEYS[2], 'n', 'b', ARGV[2])\n"
    "local floor = math.max(tonumber(c[2] or nil) or 0, tonumber(c[3] or nil) or 0)\n"
    "if not c[1] or struct.unpack('>I8', v, 4) < floor then return false end\n"
    "uint()\n"
    "local from = at\n"
    "local hi, lo = uint()\n"
    "local to, ttl = at, hi * 4294967296 + lo\n"
    "hi, lo = uint()\n"
    "local stale = hi * 4294967296 + lo\n"
    "local _, flags = uint()\n"
    "local ends = struct.unpack('>I8', v, 13) + ttl\n"
    "if ttl > 0 and ends <= ms then return false end\n"
    "local new = tonumber(ARGV[4] or nil)\n"
    "if new and ttl > 0 and flags % 64 < 32 and (new == 0 or ms + new > ends) then\n"
    LUA_TTL_FIELD
    "  if new > 0 and #f == to - from then\n"
    "    redis.call('SETRANGE', KEYS[1], from - 1, f)\n"
    "    redis.call('SETRANGE', KEYS[1], 12, struct.pack('>I8', ms))\n"
    "    redis.call('PEXPIRE', KEYS[1], new + stale)\n"
    "  else\n"
    "    local all = redis.call('GET', KEYS[1])\n"
    "    all = string.sub(all, 1, 12) .. struct.pack('>I8', ms) .. string.sub(all, 21, from - 1) .. f .. string.sub(all, to)\n"
    "    if new > 0 then redis.call('SET', KEYS[1], all, 'PX', new + stale) else redis.call('SET', KEYS[1], all) end\n"
    "  end\n"
    "  v, at = redis.call('GETRANGE', KEYS[1], 0, ARGV[3]), at + #f - (to - from)\n"
    "end\n"
    "if string.byte(v, at) == 192 then v = string.sub(v, 1, at) end\n"
    "return v\n";

/* KEYS number.  ARGV deadline_ms, change, ttl_ms. Adds to the field n, and gives the key that time to live where it has none
   (0: never). Answers the number as digits, which no double rounds; -4 where it would be beyond 64 bits, -5 where something
   else stands there: then nothing has changed. A change that is empty removes the number, and answers what it was. */
static const char count_text[] =
    LUA_TIME
    "local deadline = tonumber(ARGV[1])\n"
    "if deadline > 0 and ms > deadline then return -1 end\n"
    "if ARGV[2] == '' then\n"
    "  local was = redis.pcall('HGET', KEYS[1], 'n')\n"
    "  if type(was) == 'table' and was.err and not string.find(was.err, 'WRONGTYPE', 1, true) then return was end\n"
    "  if not was and redis.call('EXISTS', KEYS[1]) == 0 then return '0' end\n"
    "  if type(was) ~= 'string' or not string.find(was, '^-?%d+$') then return -5 end\n"
    "  redis.call('UNLINK', KEYS[1])\n"
    "  return was\n"
    "end\n"
    "local r = redis.pcall('HINCRBY', KEYS[1], 'n', ARGV[2])\n"
    "if type(r) == 'table' then\n"
    "  if string.find(r.err, 'overflow', 1, true) then return -4 end\n"
    "  if string.find(r.err, 'WRONGTYPE', 1, true) or string.find(r.err, 'not an integer', 1, true) then return -5 end\n"
    "  return r\n"
    "end\n"
    "if ARGV[3] ~= '0' and redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end\n"
    "return redis.call('HGET', KEYS[1], 'n')\n";

/* KEYS value.  ARGV lease, lease_ms. What SET NX GET PX does where the server has it. */
static const char lease_text[] =
    "local v = redis.call('GET', KEYS[1])\n"
    "if v then return v end\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
    "return false\n";

/* KEYS value.  ARGV front, lease, lease_ms. The lease in the place of a value that its reader judged invalid: only where
   the value that begins with that front is still there, or nothing; answers what GET would otherwise. */
static const char over_text[] =
    "local front = redis.call('GETRANGE', KEYS[1], 0, 28)\n"
    "if front ~= '' and front ~= ARGV[1] then return redis.call('GET', KEYS[1]) end\n"
    "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\n"
    "return false\n";

/* KEYS marker, counter.  ARGV marker with an empty head, ttl_ms, publish command, channel, message before n, message after n.
   Answers the marker, whose time begins anew. Created where it was missing, it has a new nonce, which makes invalid whatever
   was tagged before; that is published like any renewal, else who knows the former nonce would go on believing in it, and
   each would judge the other's values outdated, in turns. */
static const char mark_text[] =
    "local v = redis.call('GET', KEYS[1])\n"
    "if v then\n"
    "  redis.pcall('PEXPIRE', KEYS[1], ARGV[2])\n"
    "  return v\n"
    "end\n"
    LUA_TIME LUA_USABLE
    "local n = redis.pcall('HINCRBY', KEYS[2], 'n', 1)\n"
    "if type(n) == 'table' then return n end\n"
    "if n == 1 or not usable(n) then\n"
    LUA_RESTART("KEYS[2]")
    "end\n"
    "local r = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
    "if not r.err then r = " LUA_PATCH " end\n"
    "if type(r) == 'table' and r.err then\n"
    "  redis.pcall('UNLINK', KEYS[1])\n"
    "  redis.call(ARGV[3], ARGV[4], '\\146\\8\\0')\n"
    "  return r\n"
    "end\n"
    "redis.call(ARGV[3], ARGV[4], ARGV[5] .. '\\207' .. struct.pack('>I8', n) .. ARGV[6])\n"
    "return redis.call('GET', KEYS[1])\n";

/* KEYS value, counter.  ARGV deadline_ms, ttl_ms, the lease but for its last byte, publish command, channel, FILLED
   message, value with an empty head, namespace's field, floor. What was loaded is not stored where floor, the
   last clear of its namespace that its loader's process knew of before it was asked, is not the last one here: a later one
   came, or a failover lost that one, whose n then says nothing of those since. Nor where nobody knows. */
static const char fill_text[] =
    LUA_TIME LUA_USABLE
    "local deadline = tonumber(ARGV[1])\n"
    "if deadline > 0 and ms > deadline then return -1 end\n"
    "local lease = redis.call('GETRANGE', KEYS[1], 0, 12)\n"
    "if #lease ~= 12 or string.sub(lease, 1, 11) ~= ARGV[3] then return -3 end\n"
    "local c = redis.call('HMGET', KEYS[2], 'n', 'b', ARGV[8])\n"
    "local n = tonumber(c[1] or nil)\n"
    "local floor = math.max(tonumber(c[2] or nil) or 0, tonumber(c[3] or nil) or 0)\n"
    "if not usable(n) or floor ~= tonumber(ARGV[9]) then\n"
    "  redis.call('UNLINK', KEYS[1])\n"
    "  if string.byte(lease, 12) == 195 then redis.call(ARGV[4], ARGV[5], ARGV[6]) end\n"
    "  return -3\n"
    "end\n"
    "if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[1], ARGV[7], 'PX', ARGV[2])\n"
    "else redis.call('SET', KEYS[1], ARGV[7]) end\n"
    "local r = " LUA_PATCH "\n"
    "if type(r) == 'table' and r.err then\n"
    "  redis.call('UNLINK', KEYS[1])\n"
    "  return r\n"
    "end\n"
    "if string.byte(lease, 12) == 195 then redis.call(ARGV[4], ARGV[5], ARGV[6]) end\n"
    "return {n, ms}\n";

/* Whether the value at KEYS[1] has the version in bytes: n and id as they stand in it. */
#define LUA_SAME                                                                                                  \
    "local function same(version)\n"                                                                              \
    "  local v = redis.call('GETRANGE', KEYS[1], 0, 28)\n"                                                        \
    "  return #v == 29 and string.byte(v, 2) == 1 and string.sub(v, 4, 11) .. string.sub(v, 22, 29) == version\n" \
    "end\n"

/* KEYS value, claim.  ARGV version, lease, lease_ms. The right to refresh a value, which stays where it is meanwhile: 1
   where it is ours (again), 0 where another has it; where the value is another by now, what GET would answer. */
static const char claim_text[] =
    LUA_SAME
    "if not same(ARGV[1]) then return redis.call('GET', KEYS[1]) end\n"
    "local held = redis.call('GETRANGE', KEYS[2], 0, 11)\n"
    "if held ~= '' and held ~= ARGV[2] then return 0 end\n"
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])\n"
    "return 1\n";

/* What a refresh, KEYS and ARGV[1] to [6] as below, must find: in time, its claim, which ends here, the version and the floor. Then n is
   the counter as it is. */
#define LUA_REFRESH                                                                                               \
    LUA_TIME LUA_USABLE LUA_SAME                                                                                  \
    "local deadline = tonumber(ARGV[1])\n"                                                                        \
    "if deadline > 0 and ms > deadline then return -1 end\n"                                                      \
    "if string.sub(redis.call('GETRANGE', KEYS[3], 0, 11), 1, 11) ~= ARGV[3] then return -3 end\n"                \
    "redis.call('UNLINK', KEYS[3])\n"                                                                             \
    "if not same(ARGV[4]) then return -3 end\n"                                                                   \
    "local c = redis.call('HMGET', KEYS[2], 'n', 'b', ARGV[5])\n"                                                 \
    "local n = tonumber(c[1] or nil)\n"                                                                           \
    "local floor = math.max(tonumber(c[2] or nil) or 0, tonumber(c[3] or nil) or 0)\n"                            \
    "if not usable(n) or floor ~= tonumber(ARGV[6]) then return -3 end\n"

/* KEYS value, counter, claim.  ARGV deadline_ms, ttl_ms, the lease but for its last byte, version, namespace's
   field, floor, [value with an empty head]. A refresh in the place of the version that it refreshes; without a value that is removed. Nothing is published:
   what others hold is as good as it was. */
static const char refill_text[] =
    LUA_REFRESH
    "if not ARGV[7] then\n"
    "  redis.call('UNLINK', KEYS[1])\n"
    "  return {n, ms}\n"
    "end\n"
    "if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[1], ARGV[7], 'PX', ARGV[2])\n"
    "else redis.call('SET', KEYS[1], ARGV[7]) end\n"
    "local r = " LUA_PATCH "\n"
    "if type(r) == 'table' and r.err then\n"
    "  redis.call('UNLINK', KEYS[1])\n"
    "  return r\n"
    "end\n"
    "return {n, ms}\n";

/* KEYS value, counter, claim.  ARGV deadline_ms, ttl_ms of the value (0: no end), the lease but for its last byte, version, namespace's
   field, floor. As refill, with the bytes that are there: they get a new version, n and id, the flag refreshed, and the time. */
static const char extend_text[] =
    LUA_REFRESH
    "local v, at, new = redis.call('GETRANGE', KEYS[1], 0, 67), 30, tonumber(ARGV[2])\n"
    LUA_UINT
    "uint()\n"
    "local from = at\n"
    "uint()\n"
    "local to = at\n"
    "local hi, lo = uint()\n"
    "local stale = hi * 4294967296 + lo\n"
    "local flags = string.byte(v, at)\n"
    "if flags % 32 < 16 then flags = flags + 16 end\n"
    LUA_TTL_FIELD
    "local head = struct.pack('>I8', n) .. '\\207' .. struct.pack('>I8', ms) .. '\\207' .. string.sub(ARGV[3], 4, 11)\n"
    "if new > 0 and #f == to - from then\n"
    "  redis.call('SETRANGE', KEYS[1], 3, head)\n"
    "  redis.call('SETRANGE', KEYS[1], from - 1, f)\n"
    "  redis.call('SETRANGE', KEYS[1], at - 1, string.char(flags))\n"
    "  redis.call('PEXPIRE', KEYS[1], new + stale)\n"
    "else\n"
    "  local all = redis.call('GET', KEYS[1])\n"
    "  all = string.sub(all, 1, 3) .. head .. string.sub(all, 30, from - 1) .. f .. string.sub(all, to, at - 1) .. string.char(flags) .. string.sub(all, at + 1)\n"
    "  if new > 0 then redis.call('SET', KEYS[1], all, 'PX', new + stale) else redis.call('SET', KEYS[1], all) end\n"
    "end\n"
    "return {n, ms}\n";

/* KEYS lock.  ARGV deadline_ms, "acquire", "renew" or "release", identity, ttl_ms, keep_ms. A lock is 24 bytes: the last token, who
   holds it, until when in ms. A token is at least the clock in us, so that it grows where the last one was forgotten. Answers
   {token, ms left}; {0, ms left} where another holds it; -3 where this one does not, or did and is over: what was asked for once
   and comes again late is not granted anew. A release removes first, which memory limits can't refuse, and leaves who it was,
   so that one which is sent twice is told the same. */
static const char lock_text[] =
    LUA_TIME
    "if ARGV[1] ~= '0' and ms > tonumber(ARGV[1]) then return -1 end\n"
    "local v = redis.call('GET', KEYS[1])\n"
    "local token, id, till = 0, '', 0\n"
    "if v and #v == 24 then token, id, till = struct.unpack('>I8c8I8', v) end\n"
    "local mine = till > ms and id == ARGV[3]\n"
    "if ARGV[2] == 'release' and till == 0 and id == ARGV[3] then return {token, 0} end\n"
    "if ARGV[2] == 'acquire' then\n"
    "  if till > ms then return {mine and token or 0, till - ms} end\n"
    "  if id == ARGV[3] then return -3 end\n"
    "  token, till = math.max(token + 1, us), ms + ARGV[4]\n"
    "elseif not mine then return -3\n"
    "elseif ARGV[2] == 'renew' then till = math.max(till, ms + ARGV[4])\n"
    "else\n"
    "  redis.call('UNLINK', KEYS[1])\n"
    "  redis.pcall('SET', KEYS[1], struct.pack('>I8c8I8', token, ARGV[3], 0), 'PX', ARGV[5])\n"
    "  return {token, 0}\n"
    "end\n"
    "redis.call('SET', KEYS[1], struct.pack('>I8c8I8', token, ARGV[3], till), 'PX', till - ms + ARGV[5])\n"
    "return {token, till - ms}\n";

/* KEYS value, or claim.  ARGV the lease but for its last byte, publish command, channel, FILLED message. */
static const char abandon_text[] =
    "local lease = redis.call('GETRANGE', KEYS[1], 0, 12)\n"
    "if #lease ~= 12 or string.sub(lease, 1, 11) ~= ARGV[1] then return 0 end\n"
    "redis.call('UNLINK', KEYS[1])\n"
    "if string.byte(lease, 12) == 195 then redis.call(ARGV[2], ARGV[3], ARGV[4]) end\n"
    "return 1\n";

/* KEYS value.  ARGV the lease but for its last byte. Marks it as awaited, its token and expiry unchanged, and answers the
   time in ms that it has left (-1: no end); or, where it is gone, what GET would. */
static const char await_text[] =
    "local lease = redis.call('GETRANGE', KEYS[1], 0, 12)\n"
    "if #lease ~= 12 or string.sub(lease, 1, 11) ~= ARGV[1] then return redis.call('GET', KEYS[1]) end\n"
    "if string.byte(lease, 12) ~= 195 then redis.call('SETRANGE', KEYS[1], 11, '\\195') end\n"
    "return redis.call('PTTL', KEYS[1])\n";

/* KEYS counter. Answers the fields and values of its hash, having created it where it was missing or not usable. */
static const char counter_text[] =
    LUA_TIME LUA_USABLE
    "local n = tonumber(redis.call('HGET', KEYS[1], 'n') or nil)\n"
    "if not usable(n) then\n"
    LUA_RESTART("KEYS[1]")
    "end\n"
    "return redis.call('HGETALL', KEYS[1])\n";

/* KEYS counter.  ARGV deadline_ms, publish command, channel, message before n, message after n, namespace's field. All that
   the namespace has in the partition with a smaller n is invalid from here on; where the field is empty, nothing is: it is only
   published. Floors can't end by themselves, since a value may live for ever; where they are too many, one for all namespaces takes
   their place, and UNTRUST has every holder ask for it: too much is invalid then, never too little. It goes first: whoever hears this n, and
   then no more, has heard that too; else nothing would be amiss when he is back, and his fills were refused for the floors he knows.
   The HDEL deletes nothing: having written once, the script is not refused the rest for lack of memory. */
static const char clear_text[] =
    LUA_TIME LUA_USABLE
    "local deadline = tonumber(ARGV[1])\n"
    "if deadline > 0 and ms > deadline then return -1 end\n"
    "redis.call('HDEL', KEYS[1], '')\n"
    "local n = redis.pcall('HINCRBY', KEYS[1], 'n', 1)\n"
    "if type(n) == 'table' then\n"
    "  redis.call(ARGV[2], ARGV[3], '\\146\\8\\0')\n"
    "  return n\n"
    "end\n"
    "if n == 1 or not usable(n) then\n"
    LUA_RESTART("KEYS[1]")
    "end\n"
    "local folded = false\n"
    "if ARGV[6] ~= '' then\n"
    "  local number = string.format('%.0f', n)\n"
    "  redis.call('HSET', KEYS[1], ARGV[6], number)\n"
    "  folded = redis.call('HLEN', KEYS[1]) > 2 + " TEXT(SX_PUBLISH_FLOORS_MAX) "\n" /* beside n and b */
    "  if folded then\n"
    "    redis.call('UNLINK', KEYS[1])\n"
    "    redis.call('HSET', KEYS[1], 'n', number, 'b', number)\n"
    "  end\n"
    "end\n"
    "if folded then redis.call(ARGV[2], ARGV[3], '\\146\\8\\0') end\n"
    "redis.call(ARGV[2], ARGV[3], ARGV[4] .. '\\207' .. struct.pack('>I8', n) .. ARGV[5])\n"
    "return {n, ms}\n";

/* No KEYS (they would be of several slots).  ARGV counter names. Answers {seconds, microseconds, counter ...}: digits,
   null for a missing one, "-" and the error's text. */
static const char beat_text[] =
    "local out = redis.call('TIME')\n"
    "for i = 1, #ARGV do\n"
    "  local v = redis.pcall('HGET', ARGV[i], 'n')\n"
    "  if type(v) == 'table' then v = '-' .. (v.err or '') end\n"
    "  out[i + 2] = v\n"
    "end\n"
    "return out\n";

/* KEYS scratch name of the partition.  ARGV publish command, channel, PROBE message. Does, on a scratch key, whatever
   the other scripts do, so that a missing permission is found before it could leave a write half done. */
static const char probe_text[] =
    "redis.call('TIME')\n"
    "redis.call(ARGV[1], ARGV[2], ARGV[3])\n"
    "redis.call('UNLINK', KEYS[1])\n"
    "redis.call('SET', KEYS[1], '1', 'PX', 1000)\n"
    "redis.call('GET', KEYS[1])\n"
    "redis.call('GETRANGE', KEYS[1], 0, 12)\n"
    "redis.call('PTTL', KEYS[1])\n"
    "redis.call('PEXPIRE', KEYS[1], 1000)\n"
    "redis.call('SETRANGE', KEYS[1], 0, '1')\n"
    "redis.call('UNLINK', KEYS[1])\n"
    "redis.call('HINCRBY', KEYS[1], 'n', 1)\n"
    "redis.call('HSET', KEYS[1], 'b', '1')\n"
    "redis.call('HDEL', KEYS[1], '')\n"
    "redis.call('HGET', KEYS[1], 'n')\n"
    "redis.call('HMGET', KEYS[1], 'n', 'b')\n"
    "redis.call('HGETALL', KEYS[1])\n"
    "redis.call('HLEN', KEYS[1])\n"
    "redis.call('UNLINK', KEYS[1])\n"
    "return 1\n";

void sx_publish_scripts_init(sx_publish_scripts *scripts) {
    *scripts = (sx_publish_scripts){
        .write = {.text = write_text},     .lease = {.text = lease_text}, .fill = {.text = fill_text},
        .abandon = {.text = abandon_text}, .await = {.text = await_text}, .counter = {.text = counter_text},
        .beat = {.text = beat_text},       .probe = {.text = probe_text}, .replay = {.text = replay_text},
        .over = {.text = over_text},       .mark = {.text = mark_text},   .clear = {.text = clear_text},
        .writes = {.text = writes_text},   .claim = {.text = claim_text}, .refill = {.text = refill_text},
        .write_if = {.text = write_if_text}, .look = {.text = look_text}, .count = {.text = count_text},
        .extend = {.text = extend_text},
        .lock = {.text = lock_text},
    };
    static const char from_clock[] = "  n = us\n", last_message[] = "redis.call(ARGV[4], ARGV[5], ARGV[6] .. ",
                      message_of_all[] = "redis.call(ARGV[1], ARGV[2], '\\150",
                      other_floor[] = " or floor ~= tonumber(ARGV[9])", refilled_floor[] = " or floor ~= tonumber(ARGV[6])",
                      other_version[] = "if not same(ARGV[4]) then return -3 end\n",
                      no_value[] = "    holds = holds or flags % 64 >= 32\n",
                      newer[] = "    holds = holds or new_hi > hi or new_hi == hi and new_lo > lo\n",
                      token[] = "if #lease ~= 12 or string.sub(lease, 1, 11) ~= ARGV[3] then return -3 end\n";
    (void)from_clock, (void)last_message, (void)message_of_all, (void)token, (void)other_floor, (void)refilled_floor,
        (void)other_version, (void)no_value, (void)newer;
    sx_redis_script *counting[] = {&scripts->write, &scripts->counter, &scripts->writes, &scripts->write_if};
    for (int i = 0; i < 4; i++)
        counting[i]->text = sx_broken_text(SX_BROKEN(counter_clock), counting[i]->text, from_clock, "  n = 1\n");
    scripts->write.text = sx_broken_text(SX_BROKEN(publish), scripts->write.text, last_message, "local s = (ARGV[6] .. ");
    scripts->write_if.text = sx_broken_text(SX_BROKEN(publish), scripts->write_if.text, last_message, "local s = (ARGV[6] .. ");
    scripts->writes.text = sx_broken_text(SX_BROKEN(publish), scripts->writes.text, message_of_all, "local s = ('\\150");
    scripts->write_if.text = sx_broken_text(SX_BROKEN(condition), scripts->write_if.text, "if not holds then", "if false then");
    scripts->write_if.text = sx_broken_text(SX_BROKEN(add_empty), scripts->write_if.text, no_value, "    holds = true\n");
    scripts->write_if.text = sx_broken_text(SX_BROKEN(newer_only), scripts->write_if.text, newer, "    holds = true\n");
    scripts->lock.text = sx_broken_text(SX_BROKEN(lock_held), scripts->lock.text, "  if till > ms then return", "  if mine then return");
    scripts->lock.text = sx_broken_text(SX_BROKEN(lock_clock), scripts->lock.text, "math.max(token + 1, us)", "token + 1");
    scripts->fill.text = sx_broken_text(SX_BROKEN(lease_token), scripts->fill.text, token, "");
    scripts->fill.text = sx_broken_text(SX_BROKEN(floor_fill), scripts->fill.text, other_floor, "");
    scripts->refill.text = sx_broken_text(SX_BROKEN(floor_fill), scripts->refill.text, refilled_floor, "");
    scripts->refill.text = sx_broken_text(SX_BROKEN(refill_version), scripts->refill.text, other_version, "");
    scripts->extend.text = sx_broken_text(SX_BROKEN(floor_fill), scripts->extend.text, refilled_floor, "");
    scripts->extend.text = sx_broken_text(SX_BROKEN(refill_version), scripts->extend.text, other_version, "");
    sx_redis_script *all[] = {&scripts->write, &scripts->lease,   &scripts->fill, &scripts->abandon,
                              &scripts->await, &scripts->counter, &scripts->beat, &scripts->probe, &scripts->replay,
                              &scripts->over,  &scripts->mark,    &scripts->clear, &scripts->writes, &scripts->claim,
                              &scripts->refill, &scripts->write_if, &scripts->look, &scripts->count, &scripts->extend, &scripts->lock, NULL};
    _Static_assert(sizeof all == sizeof scripts->all, "one place for each script and the end");
    memcpy(scripts->all, all, sizeof all);
}
