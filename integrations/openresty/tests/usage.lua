-- Reads an answer from the standard input, as many bytes at a time as the argument says, and prints its token counts, -1
-- for those that it does not tell. For LuaJIT, outside of nginx.

package.preload["ngx.balancer"] = function() return {} end
package.path = arg[0]:match("^(.*)tests/usage.lua$") .. "?.lua;" .. package.path
local pointsman = require("pointsman")

local usage = {}
for piece in function() return io.read(tonumber(arg[1])) end do pointsman.read_usage(usage, piece) end
local prompt, cached, generated = pointsman.usage_of(usage)
print(prompt or -1, cached or -1, generated or -1)
