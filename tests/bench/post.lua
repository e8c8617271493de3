-- wrk: small events, the same bytes each time (42 bytes each); one a request, or with BENCH_BATCH
-- an array of so many.
local event = '{"name":"bench.event","payload":"0123456"}'
local batch = tonumber(os.getenv("BENCH_BATCH") or 0)
wrk.method = "POST"
wrk.body = batch == 0 and event or "[" .. string.rep(event .. ",", batch - 1) .. event .. "]"
wrk.headers["Content-Type"] = "application/json"
