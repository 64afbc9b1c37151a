-- Wireshark before 4.4 has Lua 5.2, later ones Lua 5.4 without this library but with their own.
local bit32 = bit32 or bit

local galera = Proto("galera", "Galera group protocol")
local trailing = ProtoExpert.new("galera.trailing", "Bytes that belong to no field",
                                 expert.group.MALFORMED, expert.severity.WARN)
local truncated = ProtoExpert.new("galera.truncated", "Message ends inside a field",
                                  expert.group.MALFORMED, expert.severity.ERROR)
galera.experts = { trailing, truncated }

local BODY_BYTES_MAX = 32768
local fields = {}

local function abbreviation(prefix, name)
  return "galera." .. prefix .. "." .. name:gsub("[^%w]", "_"):lower()
end

local function number_field(length, signed)
  if signed then
    return length == 8 and ProtoField.int64 or length == 4 and ProtoField.int32 or ProtoField.int16
  end
  if length == 1 then return ProtoField.uint8 end
  if length == 2 then return ProtoField.uint16 end
  if length == 3 then return ProtoField.uint24 end
  if length == 4 then return ProtoField.uint32 end
  return ProtoField.uint64
end

-- Every field of the tables becomes one of Wireshark's, and so does every part of a number.
local function declare(prefix, item)
  if item.list then
    for _, inner in ipairs(item.entry) do declare(prefix .. ".entry", inner) end
    return
  end
  local abbr = abbreviation(prefix, item.name)
  local kind = item.kind
  if kind == "u" or kind == "be" or kind == "i" then
    local make = number_field(item.len, kind == "i")
    local base_of = (item.flags or item.bits) and base.HEX or base.DEC
    item.field = make(abbr, item.name, base_of, item.names)
    for _, part in ipairs(item.bits or {}) do
      part.field = make(abbreviation(prefix, item.name .. "." .. part.name), part.name, base.DEC,
                        part.names, part.mask)
      table.insert(fields, part.field)
    end
    item.parts = {}
    for mask, name in pairs(item.flags or {}) do
      local field = ProtoField.bool(abbreviation(prefix, item.name .. "." .. name), name,
                                    8 * item.len, nil, mask)
      table.insert(item.parts, { mask = mask, field = field })
      table.insert(fields, field)
    end
    table.sort(item.parts, function(a, b) return a.mask < b.mask end)
  elseif kind == "uuid" then
    item.field = ProtoField.guid(abbr, item.name)
  elseif kind == "rest" then
    item.field = ProtoField.bytes(abbr, item.name)
  else
    item.field = ProtoField.string(abbr, item.name)
  end
  table.insert(fields, item.field)
end

for prefix, layout in pairs(LAYOUTS) do
  for _, item in ipairs(layout) do declare(prefix, item) end
end
galera.fields = fields

local function applies(item, seen, left)
  if item.has then return bit32.band(seen[item.has[1]] or 0, item.has[2]) ~= 0 end
  if item.least then return (seen[item.least[1]] or 0) >= item.least[2] end
  if item.left then return left > 0 end
  return true
end

local function length_of(item, tvb, at, stop)
  if item.kind == "rest" then return stop - at end
  if item.kind == "text" then
    for here = at, stop - 1 do
      if tvb(here, 1):uint() == 0 then return here - at + 1 end
    end
    return stop - at + 1
  end
  return item.len
end

local walk

local function add(item, tvb, at, length, tree, seen)
  if length == 0 then return end
  local range = tvb(at, length)
  if item.kind == "u" then
    if length <= 4 then seen[item.name] = range:le_uint() end
    local node = tree:add_le(item.field, range)
    for _, part in ipairs(item.bits or {}) do node:add_le(part.field, range) end
    for _, part in ipairs(item.parts) do node:add_le(part.field, range) end
  elseif item.kind == "i" then
    seen[item.name] = length == 8 and range:le_int64() or range:le_int()
    tree:add_le(item.field, range)
  elseif item.kind == "padded" or item.kind == "text" then
    tree:add(item.field, range, range:stringz())
  else
    tree:add(item.field, range)
  end
end

-- Follows a layout; where it ends, or nothing if the bytes end first.
function walk(layout, tvb, at, stop, tree, seen)
  for _, item in ipairs(layout) do
    if applies(item, seen, stop - at) then
      if item.list then
        for number = 1, math.min(seen[item.list] or 0, 4096) do
          local entry = tree:add(tvb(at), "entry " .. (number - 1))
          local after = walk(item.entry, tvb, at, stop, entry, {})
          if not after then return nil end
          entry:set_len(after - at)
          at = after
        end
      else
        local length = length_of(item, tvb, at, stop)
        if at + length > stop then
          tree:add_proto_expert_info(truncated, "Message ends inside " .. item.name)
          return nil
        end
        add(item, tvb, at, length, tree, seen)
        at = at + length
      end
    end
  end
  return at
end

local function finish(tvb, at, stop, tree)
  if at and at < stop then
    tree:add_tvb_expert_info(trailing, tvb(at, stop - at))
  end
end

local function section(tree, tvb, at, stop, title)
  if at >= stop then return tree:add(tvb(at, 0), title) end
  return tree:add(tvb(at, stop - at), title)
end

local CODES = { LAST = true, JOIN = true, SYNC = true, VOTE = true }

local function request_layout(tvb, at, stop)
  for here = at, stop - 1 do
    if tvb(here, 1):uint() == 0 then
      local is_new = here + 1 < stop and tvb(here + 1, 1):uint() == 86
      return is_new and LAYOUTS.request or LAYOUTS.request_old
    end
  end
  return LAYOUTS.request_old
end

local function action(tvb, at, stop, tree, title)
  local seen = {}
  local node = section(tree, tvb, at, stop, "GCS ACTION")
  local after = walk(LAYOUTS.action, tvb, at, stop, node, seen)
  if not after then return "ACTION" end
  local layout, kind = LAYOUTS.write_set, "write-set"
  if seen["action type"] == 2 then
    kind = "STATE_REQ"
    layout = seen["fragment"] == 0 and request_layout(tvb, after, stop) or LAYOUTS.request_part
  elseif seen["action type"] ~= 0 then
    kind = "ACTION"
  end
  node:set_text("GCS " .. kind)
  finish(tvb, walk(layout, tvb, after, stop, node, seen), stop, node)
  return kind
end

local function gcs(user_type, tvb, at, stop, tree)
  local kind = GCS_TYPES[user_type] or "unknown"
  if kind == "ACTION" then return action(tvb, at, stop, tree) end
  local layout = LAYOUTS.other
  if kind == "STATE_UUID" then layout = LAYOUTS.state_uuid
  elseif kind == "STATE_MSG" then layout = LAYOUTS.state_msg
  elseif kind == "FLOW" then layout = LAYOUTS.flow
  elseif CODES[kind] then layout = stop - at == 8 and LAYOUTS.code_short or LAYOUTS.code end
  local node = section(tree, tvb, at, stop, "GCS " .. kind)
  finish(tvb, walk(layout, tvb, at, stop, node, {}), stop, node)
  return kind
end

local function pc(user_type, tvb, at, stop, tree)
  local kind = stop - at > 1 and PC_TYPES[tvb(at + 1, 1):uint()] or "unknown"
  local node = section(tree, tvb, at, stop, "PC " .. kind)
  local after = walk(LAYOUTS.pc, tvb, at, stop, node, {})
  if not after then return "PC " .. kind end
  if kind == "USER" then return "GCS " .. gcs(user_type, tvb, after, stop, tree) end
  if kind == "STATE" or kind == "INSTALL" then
    after = walk(LAYOUTS.pc_nodes, tvb, after, stop, node, {})
  end
  finish(tvb, after, stop, node)
  return "PC " .. kind
end

local function evs(tvb, at, stop, tree, is_inner)
  local kind = stop > at and EVS_TYPES[bit32.band(bit32.rshift(tvb(at, 1):uint(), 2), 7)] or "unknown"
  local node = section(tree, tvb, at, stop, "EVS " .. kind)
  local seen = {}
  local after = walk(LAYOUTS.evs, tvb, at, stop, node, seen)
  if not after then return "EVS " .. kind end
  if kind == "DELEGATE" and not is_inner then return evs(tvb, after, stop, tree, true) end
  local layout = LAYOUTS["evs_" .. kind:lower()]
  if layout then after = walk(layout, tvb, after, stop, node, seen) end
  if kind ~= "USER" then
    finish(tvb, after, stop, node)
    return "EVS " .. kind
  end
  if not after or after == stop then return "EVS USER" end
  if bit32.band(seen["flags"], 8) == 0 then return pc(seen["user type"], tvb, after, stop, tree) end
  local text = "EVS USER"
  while after and after < stop do
    local part = {}
    after = walk(LAYOUTS.aggregate, tvb, after, stop, node, part)
    if after then
      local part_end = math.min(after + part["sub-message length"], stop)
      text = pc(part["sub-message user type"], tvb, after, part_end, tree)
      after = part_end
    end
  end
  return text
end

local function dissect_frame(tvb, pinfo, tree)
  local stop = tvb:len()
  local node = tree:add(galera, tvb(0, stop))
  local at = walk(LAYOUTS.frame, tvb, 0, stop, section(node, tvb, 0, 8, "Frame"), {})
  if not at or at >= stop then return stop end
  local kind = at + 1 < stop and GMCAST_TYPES[tvb(at + 1, 1):uint()] or "unknown"
  local gmcast = section(node, tvb, at, stop, "gmcast " .. kind)
  local after = walk(LAYOUTS.gmcast, tvb, at, stop, gmcast, {})
  local text = "gmcast " .. kind
  if after and kind == "USER" then
    gmcast:set_len(after - at)
    text = evs(tvb, after, stop, node, false)
  else
    finish(tvb, after, stop, gmcast)
  end
  node:append_text(", " .. text)
  if pinfo.cols.protocol then pinfo.cols.protocol = "Galera" end
  pinfo.cols.info:append(" [" .. text .. "]")
  return stop
end

local function frame_length(tvb, _, offset)
  return bit32.band(tvb(offset, 4):le_uint(), 0x00ffffff) + 8
end

function galera.dissector(tvb, pinfo, tree)
  pinfo.cols.info = ""
  dissect_tcp_pdus(tvb, tree, 8, frame_length, dissect_frame)
  return tvb:len()
end

-- On any port: a header that makes sense, and behind it a message of version 0 and a known type.
local function looks_like_galera(tvb, pinfo, tree)
  if tvb:len() < 28 then return false end
  local word = tvb(0, 4):le_uint()
  local length = bit32.band(word, 0x00ffffff)
  local is_frame = bit32.rshift(word, 26) == 0 and length >= 20 and length <= BODY_BYTES_MAX
  if not is_frame or tvb(8, 1):uint() ~= 0 or not GMCAST_TYPES[tvb(9, 1):uint()] then return false end
  pinfo.conversation = galera
  galera.dissector(tvb, pinfo, tree)
  return true
end

galera:register_heuristic("tcp", looks_like_galera)
DissectorTable.get("tcp.port"):add(4567, galera)
