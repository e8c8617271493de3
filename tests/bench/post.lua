-- wrk: events, the same bytes each time; one a request, or with BENCH_BATCH an array of so many.
-- BENCH_PAYLOAD is the payload's size, a JSON string with its quotes; by default 9, so an event has
-- 42 bytes.
local size = tonumber(os.getenv("BENCH_PAYLOAD") or 9)
local text = string.rep("0123456", math.ceil(size / 7)):sub(1, size - 2)
local event = '{"name":"bench.event","payload":"' .. text .. '"}'
local batch = tonumber(os.getenv("BENCH_BATCH") or 0)
wrk.method = "POST"
wrk.body = batch == 0 and event or "[" .. string.rep(event .. ",", batch - 1) .. event .. "]"
wrk.headers["Content-Type"] = "application/json"
