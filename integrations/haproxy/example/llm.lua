local pointsman = require("pointsman")

pointsman.backend("llm", { policy = "cache_aware", budget = "64m" })
