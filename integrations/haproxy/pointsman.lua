-- pointsman inside HAProxy: chooses the server for each request of the backends that are named to it.
-- README.md says how to configure it. Everything of routing is decided in pointsman_core, in C.

local core_in_c = require("pointsman_core")

local M = {}

-- The backends that were configured, by name.
local backends = {}

-- Streams that may hold a ticket, by number; a stream that HAProxy has let go vanishes from here.
local streams = setmetatable({}, { __mode = "v" })
local last_stream = 0

-- How often the servers' states are looked at, in milliseconds.
local FOLLOW_MS = 250
-- After so many rounds, streams that ended without HAProxy saying so are collected.
local COLLECT_ROUNDS = 4
-- Chunks of an answer between two signs of life: an open ticket expires after an hour without one.
local PROGRESS_CHUNKS = 16

-- Configuration ------------------------------------------------------------------------------------------

local KNOWN = {
  policy = "string", budget = "size", kv_tokens = "number", session_header = "string", config = "string",
}

local function refuse(name, text)
  error(string.format("pointsman.backend '%s': %s", name, text), 0)
end

-- "64m" as bytes.
local function bytes(text)
  local number, unit = tostring(text):lower():match("^(%d+)([kmg]?)$")
  local scale = { [""] = 1, k = 1 << 10, m = 1 << 20, g = 1 << 30 }
  return number and math.tointeger(number) * scale[unit]
end

local function check(name, options)
  for key, value in pairs(options) do
    local kind = KNOWN[key]
    if not kind then
      local known = {}
      for option in pairs(KNOWN) do known[#known + 1] = option end
      table.sort(known)
      refuse(name, string.format("unknown option '%s'; known: %s", key, table.concat(known, ", ")))
    elseif kind == "size" and not bytes(value) then
      refuse(name, string.format("%s: expected bytes such as \"64m\", got '%s'", key, tostring(value)))
    elseif kind ~= "size" and type(value) ~= kind then
      refuse(name, string.format("%s: expected a %s, got a %s", key, kind, type(value)))
    end
  end
  if options.config and (options.policy or options.budget) then
    refuse(name, "config: stands for policy and budget, too; leave those out")
  end
end

-- The library's configuration document.
local function document(options)
  if options.config then return options.config end
  local fields = {}
  local policy = options.policy
  if policy then
    local is_json = policy:match("^%s*{")
    fields[#fields + 1] = '"policy": ' .. (is_json and policy or '"' .. policy:gsub('[\\"]', "\\%0") .. '"')
  end
  if options.budget then
    fields[#fields + 1] = string.format('"tree": {"budget_bytes": %d}', bytes(options.budget))
  end
  return "{" .. table.concat(fields, ", ") .. "}"
end

-- Lets pointsman choose the servers of a backend. Options: policy, budget, kv_tokens, session_header; or
-- config, the library's whole configuration as JSON.
function M.backend(name, options)
  options = options or {}
  if type(name) ~= "string" then error("pointsman.backend: the backend's name is missing", 0) end
  if backends[name] then refuse(name, "configured twice") end
  check(name, options)
  local made, router = pcall(core_in_c.open, name, document(options))
  if not made then
    local blamed = options.config and "config" or options.policy and "policy" or "budget"
    if router:find("budget_bytes", 1, true) then blamed = "budget" end
    refuse(name, blamed .. ": " .. router)
  end
  backends[name] = {
    name = name,
    router = router,
    kv_tokens = options.kv_tokens,
    session_header = options.session_header,
    workers = {},
  }
end

-- Servers ------------------------------------------------------------------------------------------------

-- Whether HAProxy itself would send new requests there, whether it is down, and with which weight.
local function state_of(server)
  local stats = server:get_stats()
  local status, weight = stats.status, stats.weight
  local up = status == "no check" or status:match("^UP") ~= nil
  return {
    address = server:get_addr(),
    takes = up and weight > 0,
    down = status:match("^DOWN") ~= nil,
    weight = math.max(weight, 1),
    backup = stats.bck == 1,
  }
end

local function add(backend, name, state)
  return { id = backend.router:add(name, state.weight, backend.kv_tokens), address = state.address, weight = state.weight }
end

-- A server that was down has most likely been started anew, and one with another address is another one:
-- what it was believed to hold is forgotten.
local function follow_one(backend, name, state, takes)
  local router, workers = backend.router, backend.workers
  local worker = workers[name]
  if worker and ((worker.down and not state.down) or worker.address ~= state.address) then
    router:remove(worker.id)
    worker = nil
  end
  if not worker then
    worker = add(backend, name, state)
    workers[name] = worker
  end
  if worker.down ~= state.down then router:health(worker.id, not state.down) end
  if worker.takes ~= takes then router:drain(worker.id, not takes) end
  if worker.weight ~= state.weight then router:weigh(worker.id, state.weight) end
  worker.down, worker.takes, worker.weight = state.down, takes, state.weight
end

-- Backup servers take requests only while no other one does.
local function follow(backend)
  local states, active = {}, false
  for name, server in pairs(core.backends[backend.name].servers) do
    local state = state_of(server)
    states[name] = state
    active = active or (state.takes and not state.backup)
  end
  -- Deleted at run time.
  for name, worker in pairs(backend.workers) do
    if not states[name] then
      backend.router:remove(worker.id)
      backend.workers[name] = nil
    end
  end
  for name, state in pairs(states) do
    follow_one(backend, name, state, state.takes and not (state.backup and active))
  end
end

-- Requests -----------------------------------------------------------------------------------------------

local warned = {}
local function warn_once(text)
  if not warned[text] then core.Alert("pointsman: " .. text) end
  warned[text] = true
end

-- What is known of one request. HAProxy makes one for each stream that enters a backend with the filter.
local Stream = { id = "pointsman", flags = filter.FLT_CFG_FL_HTX }
Stream.__index = Stream

function Stream:new()
  return setmetatable({}, Stream)
end

function Stream:finish(outcome, retry_after)
  local ticket, usage = self.ticket, self.usage
  self.ticket, self.usage = nil, nil
  if ticket then self.backend.router:complete(ticket, outcome, retry_after, usage) end
end

-- The stream is gone, and no callback said so: the client's doing, or HAProxy's own.
Stream.__gc = function(self)
  if rawget(self, "ticket") then self:finish("client_cancelled") end
end

function Stream:start_analyze(txn, channel)
  if channel:is_resp() then
    if self.ticket then filter.register_data_filter(self, channel) end
  else
    last_stream = last_stream + 1
    streams[last_stream] = self
    txn:set_var("txn.pointsman_stream", last_stream)
  end
end

-- HAProxy has sent the request elsewhere: a retry after a failed connection, or a server that went down
-- just now. Its load counts where it is.
local function moved(self, txn, server)
  self:finish("worker_error")
  local name, ticket = self.backend.router:charge(server)
  self.worker, self.ticket = server, name and ticket
  txn:set_var("txn.pointsman_worker", server)
  txn:set_var("txn.pointsman_reason", "redispatched")
end

-- HAProxy 2.6 shows Lua the servers of its configuration only; later ones show those that came at run time, too, which
-- are followed.
local function warn_of_strangers(self, server)
  if server and not self.backend.workers[server] then
    warn_once("server '" .. self.backend.name .. "/" .. server .. "' was added at run time, which this HAProxy does not " ..
      "show to Lua: it gets what HAProxy balances by itself only; put it into the configuration and reload")
  end
end

function Stream:http_headers(txn, message)
  if message.channel:is_resp() and self.backend then warn_of_strangers(self, txn.f:srv_name()) end
  if message.channel:is_resp() and self.ticket then
    self.code = math.tointeger(message:get_stline().code)
    if self.code == 429 or self.code == 503 then
      local header = message:get_headers()["retry-after"]
      self.retry_after = header and tonumber(header[0])
    end
    local server = txn.f:srv_name()
    if server ~= self.worker then moved(self, txn, server) end
  end
  return filter.CONTINUE
end

function Stream:http_payload(_, message)
  if not self.ticket or not message.channel:is_resp() then return end
  local chunks = (self.chunks or 0) + 1
  self.chunks = chunks
  if self.code < 400 then
    self.usage = self.usage or core_in_c.usage()
    self.usage:push(message:body() or "")
  end
  if chunks == 1 and self.code < 400 then
    self.backend.router:first_token(self.ticket)
  elseif chunks % PROGRESS_CHUNKS == 0 then
    self.backend.router:progress(self.ticket)
  end
end

local function outcome_of(code, retry_after)
  if code == 429 or code == 503 and retry_after then return "overloaded" end
  if code == 504 then return "timeout" end
  if code >= 500 then return "worker_error" end
  return code >= 400 and "client_error" or "success"
end

-- The whole answer has passed.
function Stream:http_end(_, message)
  if message.channel:is_resp() and self.code then
    self:finish(outcome_of(self.code, self.retry_after), self.retry_after)
  end
end

-- Whether an answer that broke off was broken off by the client; HAProxy then closes the server's side, too. The state in
-- which it would be logged says so, where HAProxy shows it; before that (2.6), a request's channel that is closed.
local function client_left(txn)
  local state = txn.f.txn_sess_term_state
  if state then return state(txn.f):match("^[Cc]") ~= nil end
  return not txn.req:may_recv()
end

-- The answer is over, whole or not.
function Stream:end_analyze(txn, channel)
  if not self.ticket or not channel:is_resp() then return end
  if self.code then
    self:finish(client_left(txn) and "client_cancelled" or "worker_error")
  elseif txn.f:srv_name() and channel:output() > 0 then
    -- HAProxy answers in the server's place.
    self:finish("worker_error")
  else
    self:finish("client_cancelled")
  end
end

-- 0 and 1 here, which are both true in Lua; a later HAProxy may say false.
local function is_draining(server)
  local answer = server:is_draining()
  return answer == 1 or answer == true
end

-- The action `http-request lua.pointsman`.
local function choose(txn)
  local name = txn.f:be_name()
  local backend = backends[name]
  if not backend then return warn_once("backend '" .. name .. "' is not configured by pointsman.backend") end
  local stream = streams[txn:get_var("txn.pointsman_stream")]
  if not stream then return warn_once("backend '" .. name .. "' lacks the line `filter lua.pointsman`") end
  local key = backend.session_header and txn.f:req_hdr(backend.session_header)
  local worker, ticket, reason, matched, total = backend.router:select(txn.f:req_body(), key)
  -- Taken out of service since the last look: nothing may go there.
  local server = worker and core.backends[name].servers[worker]
  if worker and (not server or is_draining(server)) then
    backend.router:complete(ticket, "client_cancelled")
    worker = nil
  end
  -- Without a worker, HAProxy balances by itself, or says 503.
  stream:finish("client_cancelled")
  stream.backend = backend
  if not worker then return txn:set_var("txn.pointsman_reason", "none") end
  stream.worker, stream.ticket = worker, ticket
  txn:set_var("txn.pointsman_worker", worker)
  txn:set_var("txn.pointsman_reason", reason)
  txn:set_var("txn.pointsman_matched", matched)
  txn:set_var("txn.pointsman_total", total)
end

-- The service `http-request use-service lua.pointsman_metrics`: Prometheus text of the backend named in
-- the query string (`?backend=NAME`), or of the only one.
local function serve_metrics(applet)
  local asked = applet.qs:match("backend=([^&]+)")
  local backend = asked and backends[asked]
  if not asked then _, backend = next(backends) end
  local text = backend and backend.router:prometheus() or "no such backend\n"
  applet:set_status(backend and 200 or 404)
  applet:add_header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
  applet:add_header("content-length", tostring(#text))
  applet:start_response()
  applet:send(text)
end

-- HAProxy's hooks ------------------------------------------------------------------------------------------

core.register_filter("pointsman", Stream, function(stream, arguments)
  if #arguments > 0 then
    error("filter lua.pointsman takes no argument, got '" .. arguments[1] .. "'; options belong to pointsman.backend", 0)
  end
  return stream
end)
core.register_action("pointsman", { "http-req" }, choose)
core.register_service("pointsman_metrics", "http", serve_metrics)

-- One thread follows the servers for all: the routers are the process's.
local follows = core.thread <= 1

core.register_init(function()
  for name, backend in pairs(backends) do
    if not core.backends[name] then refuse(name, "the configuration has no such backend") end
    if follows then follow(backend) end
  end
end)

core.register_task(function()
  local round = 0
  while true do
    core.msleep(FOLLOW_MS)
    if follows then
      for _, backend in pairs(backends) do follow(backend) end
    end
    round = round + 1
    if round % COLLECT_ROUNDS == 0 and next(streams) then collectgarbage() end
  end
end)

return M
