-- pointsman inside OpenResty and nginx's Lua: chooses the worker for each request of an upstream. README.md says how to
-- configure it. Everything of routing is decided in libpointsman.so; this file hands it what nginx knows.

local ffi = require("ffi")
local balancer = require("ngx.balancer")

local M = {}
local Router = {}
Router.__index = Router

-- What this file uses of pointsman.h. Structs begin with their size, by which the library knows this version of them.
ffi.cdef [[
typedef struct pointsman_router pointsman_router;
typedef struct {
    uint32_t size, role;
    const char *url; size_t url_length;
    const char *group; size_t group_length;
    double weight;
    uint64_t kv_capacity_tokens, user_data;
    const void *labels;
    uint32_t label_count, max_in_flight;
} pointsman_worker_spec;
typedef struct {
    uint32_t size, prompt_kind;
    const void *prompt; size_t prompt_length;
    const char *cache_namespace; size_t cache_namespace_length;
    const void *routing_key; size_t routing_key_length;
    const uint64_t *excluded; size_t excluded_count;
    const uint64_t *allowed; size_t allowed_count;
    const uint64_t *allowed_words; size_t allowed_words_count;
    const void *labels; size_t label_count;
    uint32_t expected_output_tokens, reserved;
    uint64_t now;
} pointsman_request;
typedef struct {
    uint32_t size, reason;
    uint64_t ticket, worker, user_data, runner_up;
    double score, runner_up_score;
    uint32_t matched_tokens, total_tokens;
} pointsman_selection;
typedef struct {
    uint32_t size, outcome;
    uint64_t retry_after;
    uint32_t prompt_tokens, cached_tokens, completion_tokens, failed_role;
    uint64_t now;
} pointsman_completion;
uint32_t pointsman_abi_version(void);
const char *pointsman_last_error(void);
const char *pointsman_reason_string(uint32_t reason);
int32_t pointsman_router_new(const char *config, size_t length, pointsman_router **router);
void pointsman_router_free(pointsman_router *router);
int32_t pointsman_router_after_fork(pointsman_router *router);
int32_t pointsman_router_tick(const pointsman_router *router, uint64_t now);
int32_t pointsman_router_prometheus(const pointsman_router *router, uint64_t now, char *buffer, size_t capacity,
                                    size_t *length);
int32_t pointsman_worker_add(const pointsman_router *router, const pointsman_worker_spec *spec, uint64_t now,
                             uint64_t *worker);
int32_t pointsman_worker_remove(const pointsman_router *router, uint64_t worker, uint64_t now);
int32_t pointsman_worker_drain(const pointsman_router *router, uint64_t worker);
int32_t pointsman_worker_resume(const pointsman_router *router, uint64_t worker);
int32_t pointsman_select(const pointsman_router *router, const pointsman_request *request,
                         pointsman_selection *selection);
int32_t pointsman_first_token(const pointsman_router *router, uint64_t ticket, uint32_t cached_tokens, uint64_t now);
int32_t pointsman_progress(const pointsman_router *router, uint64_t ticket, uint64_t now);
int32_t pointsman_complete(const pointsman_router *router, uint64_t ticket, const pointsman_completion *completion);
int32_t pointsman_outcome_of_http_status(uint32_t http_status, uint64_t retry_after, pointsman_completion *completion);
]]

local ABI_VERSION = 1
local OK, BUFFER_TOO_SMALL, BAD_BODY = 0, 14, 12
local PROMPT_NONE, PROMPT_JSON = 0, 4
local UNKNOWN, UNKNOWN64 = 0xffffffff, -1ULL
local CLIENT_CANCELLED, WORKER_ERROR, TIMEOUT = 1, 3, 4
local NANOSECONDS = 1000000000ULL

-- Chunks of an answer between two signs of life: an open ticket expires after an hour without one.
local PROGRESS_CHUNKS = 1000
-- An object with token counts is no longer than this.
local LONGEST_USAGE = 1024

-- Made once: no request is interrupted between filling and passing them.
local request, selection = ffi.new("pointsman_request"), ffi.new("pointsman_selection")
local completion = ffi.new("pointsman_completion")

-- Configuration ------------------------------------------------------------------------------------------

local KNOWN = {
  workers = "table", policy = "string", budget = "size", kv_tokens = "number", tries = "number", config = "string",
  library = "string",
}

local function refuse(text)
  error("pointsman.new: " .. text, 0)
end

-- "64m" as bytes.
local function bytes(text)
  local number, unit = tostring(text):lower():match("^(%d+)([kmg]?)$")
  local scale = { [""] = 1, k = 2 ^ 10, m = 2 ^ 20, g = 2 ^ 30 }
  return number and tonumber(number) * scale[unit]
end

local function check(options)
  for key, value in pairs(options) do
    local kind = KNOWN[key]
    if not kind then
      local known = {}
      for option in pairs(KNOWN) do known[#known + 1] = option end
      table.sort(known)
      refuse(string.format("unknown option '%s'; known: %s", tostring(key), table.concat(known, ", ")))
    elseif kind == "size" and not bytes(value) then
      refuse(string.format("%s: expected bytes such as \"64m\", got '%s'", key, tostring(value)))
    elseif kind ~= "size" and type(value) ~= kind then
      refuse(string.format("%s: expected a %s, got a %s", key, kind, type(value)))
    end
  end
  if options.config and (options.policy or options.budget) then
    refuse("config: stands for policy and budget, too; leave those out")
  end
  local tries = options.tries or 2
  if tries < 1 or tries % 1 ~= 0 then
    refuse(string.format("tries: expected a whole number of at least 1, got %s", tostring(tries)))
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
    fields[#fields + 1] = string.format('"tree": {"budget_bytes": %.0f}', bytes(options.budget))
  end
  return "{" .. table.concat(fields, ", ") .. "}"
end

-- Makes a router, in init_by_lua. Options: workers, a list of "address:port"; policy, budget, kv_tokens, tries; or
-- config, the library's whole configuration as JSON; library, where libpointsman.so is.
function M.new(options)
  options = options or {}
  check(options)
  local found, lib = pcall(ffi.load, options.library or "pointsman")
  if not found then refuse("library: " .. lib) end
  if lib.pointsman_abi_version() ~= ABI_VERSION then
    refuse("library: its binary interface is of version " .. lib.pointsman_abi_version() .. ", not " .. ABI_VERSION)
  end
  local text = document(options)
  local made = ffi.new("pointsman_router *[1]")
  if lib.pointsman_router_new(text, #text, made) ~= OK then
    local why = ffi.string(lib.pointsman_last_error())
    local blamed = options.config and "config" or options.policy and "policy" or "budget"
    if why:find("budget_bytes", 1, true) then blamed = "budget" end
    refuse(blamed .. ": " .. why)
  end
  local self = setmetatable({
    lib = lib,
    raw = ffi.gc(made[0], lib.pointsman_router_free),
    kv_tokens = options.kv_tokens,
    tries = options.tries or 2,
    -- By the number that the library knows each by, and by address.
    workers = {},
    names = {},
    last_number = 0,
  }, Router)
  for _, address in ipairs(options.workers or {}) do
    local ok, why = self:add(address)
    if not ok then refuse(why) end
  end
  return self
end

-- A process of its own from here on: called in init_worker_by_lua.
function Router:init_worker()
  self.lib.pointsman_router_after_fork(self.raw)
  assert(ngx.timer.every(1, function() self.lib.pointsman_router_tick(self.raw, 0) end))
end

-- Workers ------------------------------------------------------------------------------------------------

-- Registers "address:port"; an address is one of IPv4, or of IPv6 in brackets. True, or nothing and why not.
function Router:add(address)
  local host, port = tostring(address):match("^(.+):(%d+)$")
  if not host or not (host:match("^%d+%.%d+%.%d+%.%d+$") or host:match("^%[[%x:.]+%]$")) or tonumber(port) > 65535 then
    return nil, string.format("workers: expected \"address:port\", got '%s'", tostring(address))
  end
  local spec, id = ffi.new("pointsman_worker_spec"), ffi.new("uint64_t[1]")
  spec.size, spec.weight = ffi.sizeof(spec), 1
  spec.url, spec.url_length = address, #address
  spec.group_length = 0
  spec.kv_capacity_tokens = self.kv_tokens or UNKNOWN64
  local number = self.last_number + 1
  spec.user_data = number
  if self.lib.pointsman_worker_add(self.raw, spec, 0, id) ~= OK then
    return nil, "workers: " .. ffi.string(self.lib.pointsman_last_error())
  end
  local worker = { id = id[0], number = number, address = address, host = host, port = tonumber(port) }
  self.last_number, self.workers[number], self.names[address] = number, worker, worker
  return true
end

local function change(name)
  return function(self, address)
    local worker = self.names[address]
    if not worker then return nil, string.format("no worker '%s'", tostring(address)) end
    if self.lib[name](self.raw, worker.id) == OK then return true end
    return nil, ffi.string(self.lib.pointsman_last_error())
  end
end

-- No new requests for a worker, and again some. True, or nothing and why not.
Router.drain, Router.resume = change("pointsman_worker_drain"), change("pointsman_worker_resume")

-- Forgets a worker. True, or nothing and why not.
function Router:remove(address)
  local worker = self.names[address]
  if not worker then return nil, string.format("no worker '%s'", tostring(address)) end
  self.names[address], self.workers[worker.number] = nil, nil
  if self.lib.pointsman_worker_remove(self.raw, worker.id, 0) == OK then return true end
  return nil, ffi.string(self.lib.pointsman_last_error())
end

-- Usage --------------------------------------------------------------------------------------------------

-- Names under which the interfaces of engines tell their counts. Messages leave the cached tokens out of the prompt's;
-- of these there are two kinds.
local COUNTS = {
  prompt_tokens = "prompt", input_tokens = "input", completion_tokens = "completion", output_tokens = "completion",
  cached_tokens = "cached", cache_read_input_tokens = "read", cache_creation_input_tokens = "written",
}

-- The counts in the text behind a name that engines give the object with them. In generated text the quotes around
-- such a name are escaped.
local function read_counts(text, counts)
  for _, name in ipairs({ '"usage"', '"meta_info"' }) do
    local _, behind = text:find(name, 1, true)
    while behind do
      local object = text:match("^%s*:%s*(%b{})", behind + 1) or text:match("^%s*:%s*({.*)", behind + 1) or ""
      -- In lists stand the counts of single turns and passes.
      object = object:gsub("%b[]", ""):match("^[^%[]*")
      for key, count in object:gmatch('"([%a_]+)"%s*:%s*(%d+)%s*[,}]') do
        local number = tonumber(count)
        if COUNTS[key] and number < UNKNOWN then counts[COUNTS[key]] = number end
      end
      _, behind = text:find(name, behind + 1, true)
    end
  end
end

-- Reads the next piece of an answer; `usage` is empty at its beginning.
function M.read_usage(usage, piece)
  -- What may be cut between two pieces is looked at again.
  local text = (usage.rest or "") .. piece
  usage.counts = usage.counts or {}
  read_counts(text, usage.counts)
  usage.rest = text:sub(-LONGEST_USAGE)
end

-- Tokens of the prompt, of these the cached ones, and tokens generated, as far as the answer told.
function M.usage_of(usage)
  local counts = usage.counts or {}
  local prompt, cached = counts.prompt, counts.cached
  if counts.input then
    -- Chat and Responses count the cached ones among them.
    local apart = cached == nil
    prompt = counts.input + (apart and (counts.read or 0) + (counts.written or 0) or 0)
    if prompt >= UNKNOWN then prompt = nil end
  end
  cached = cached or counts.read
  return prompt, cached, counts.completion
end

-- Requests -----------------------------------------------------------------------------------------------

-- The body, from memory or from the file that nginx has put it into.
local function body()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  local path = not text and ngx.req.get_body_file()
  local file = path and io.open(path, "rb")
  if not file then return text end
  text = file:read("*a")
  file:close()
  return text
end

-- Chooses a worker that was not tried before. True, or nothing and why not.
function Router:choose(state)
  ffi.fill(request, ffi.sizeof(request))
  request.size, request.expected_output_tokens = ffi.sizeof(request), UNKNOWN
  if state.body and #state.body > 0 then
    request.prompt_kind, request.prompt, request.prompt_length = PROMPT_JSON, ffi.cast("const char *", state.body), #state.body
  end
  -- nginx does not count a try that failed on an idle connection, so these may be more than `tries`.
  local excluded = #state.tried > 0 and ffi.new("uint64_t[?]", #state.tried) or nil
  for number, worker in ipairs(state.tried) do excluded[number - 1] = worker.id end
  request.excluded, request.excluded_count = excluded, #state.tried
  selection.size = ffi.sizeof(selection)
  local status = self.lib.pointsman_select(self.raw, request, selection)
  if status == BAD_BODY then
    -- The engine may understand it: what cannot be read is routed by load.
    request.prompt_kind = PROMPT_NONE
    status = self.lib.pointsman_select(self.raw, request, selection)
  end
  if status ~= OK then return nil, ffi.string(self.lib.pointsman_last_error()) end
  state.ticket, state.worker = selection.ticket, self.workers[tonumber(selection.user_data)]
  state.reason = ffi.string(self.lib.pointsman_reason_string(selection.reason))
  state.matched, state.total = selection.matched_tokens, selection.total_tokens
  return true
end

local function begin_completion()
  ffi.fill(completion, ffi.sizeof(completion))
  completion.size = ffi.sizeof(completion)
  completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens = UNKNOWN, UNKNOWN, UNKNOWN
end

function Router:finish(state)
  local ticket = state.ticket
  state.ticket = nil
  self.lib.pointsman_complete(self.raw, ticket, completion)
end

-- In access_by_lua: reads the body and chooses, or answers 503.
function Router:access()
  local state = { body = body(), tried = {} }
  ngx.ctx.pointsman = state
  local chosen, why = self:choose(state)
  if chosen then return end
  ngx.log(ngx.WARN, "pointsman: ", why)
  return ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE)
end

-- In balancer_by_lua: names the worker that was chosen, or, where that one failed, another one.
function Router:balance()
  local state = ngx.ctx.pointsman
  if not state then
    ngx.log(ngx.ERR, "pointsman: access() was not called for this request")
    return ngx.exit(ngx.ERROR)
  end
  local _, code = balancer.get_last_failure()
  if code then
    begin_completion()
    completion.outcome = code == 504 and TIMEOUT or WORKER_ERROR
    if state.ticket then self:finish(state) end
    state.tried[#state.tried + 1] = state.worker
    local chosen, why = self:choose(state)
    if not chosen then
      ngx.log(ngx.WARN, "pointsman: no other worker: ", why)
      return ngx.exit(ngx.ERROR)
    end
  elseif self.tries > 1 then
    balancer.set_more_tries(self.tries - 1)
  end
  local ok, why = balancer.set_current_peer(state.worker.host, state.worker.port)
  if not ok then
    ngx.log(ngx.ERR, "pointsman: ", why)
    return ngx.exit(ngx.ERROR)
  end
end

-- In header_filter_by_lua: what the worker answers.
function Router:header_filter()
  local state = ngx.ctx.pointsman
  if not state or not state.ticket or not ngx.var.upstream_header_time then return end
  -- Of several attempts, the last one.
  local answered = ngx.var.upstream_header_time:match("([%d.]+)%s*$")
  if not answered then return end
  state.code = ngx.status
  -- Seconds; a date is passed over. The library takes five minutes at most.
  local seconds = tonumber(ngx.header.retry_after)
  state.retry_after = seconds and seconds > 0 and math.min(seconds, 3600) or 0
end

-- In body_filter_by_lua: the first token, and the counts.
function Router:body_filter()
  local state = ngx.ctx.pointsman
  if not state or not state.ticket or not state.code then return end
  local chunk, is_last = ngx.arg[1], ngx.arg[2]
  -- Where a worker breaks off, nginx flushes once more and ends nothing.
  state.broken = chunk == "" and not is_last
  state.complete = is_last
  if state.code >= 400 or chunk == "" then return end
  state.chunks = (state.chunks or 0) + 1
  if state.chunks == 1 then
    self.lib.pointsman_first_token(self.raw, state.ticket, UNKNOWN, 0)
  elseif state.chunks % PROGRESS_CHUNKS == 0 then
    self.lib.pointsman_progress(self.raw, state.ticket, 0)
  end
  state.usage = state.usage or {}
  M.read_usage(state.usage, chunk)
end

-- In log_by_lua: the request is over.
function Router:log()
  local state = ngx.ctx.pointsman
  if not state or not state.ticket then return end
  begin_completion()
  if not state.code then
    local status = ngx.status
    completion.outcome = status == 499 and CLIENT_CANCELLED or status == 504 and TIMEOUT or WORKER_ERROR
  elseif not state.complete and not (ngx.req.get_method() == "HEAD") then
    completion.outcome = state.broken and WORKER_ERROR or CLIENT_CANCELLED
  else
    self.lib.pointsman_outcome_of_http_status(state.code, state.retry_after * NANOSECONDS, completion)
    local prompt, cached, generated = M.usage_of(state.usage or {})
    completion.prompt_tokens, completion.cached_tokens = prompt or UNKNOWN, cached or UNKNOWN
    completion.completion_tokens = generated or UNKNOWN
  end
  self:finish(state)
end

-- In content_by_lua: the metrics in the OpenMetrics format.
function Router:status()
  local length, capacity = ffi.new("size_t[1]"), 65536
  while true do
    local buffer = ffi.new("char[?]", capacity)
    local status = self.lib.pointsman_router_prometheus(self.raw, 0, buffer, capacity, length)
    if status == OK then
      ngx.header.content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
      ngx.print(ffi.string(buffer, length[0]))
      return
    elseif status ~= BUFFER_TOO_SMALL then
      ngx.log(ngx.ERR, "pointsman: ", ffi.string(self.lib.pointsman_last_error()))
      return ngx.exit(ngx.HTTP_INTERNAL_SERVER_ERROR)
    end
    -- Workers may come in between.
    capacity = tonumber(length[0]) + 4096
  end
end

return M
